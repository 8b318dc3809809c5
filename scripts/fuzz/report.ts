/**
 * The tables at the end, and whether all was as it must be.
 *
 * @module
 */
import { framesOf, refusedOf, type Row, type Tally } from "./tally.ts";

const COLUMNS = ["frames", "share", "accepted", "refused", "inside"] as const;
const CODES_WIDTH = 60;

/** A tally as a table: "inside" are the refusals of which it is sure that the decoder itself made them. */
export function toTable(title: string, tally: Tally): string {
  const total = framesOf(tally);
  const names = Object.keys(tally).sort((a, b) => a.localeCompare(b));
  const rows = names.map((name) => toCells(name, tally[name]!, total)); // its own keys
  const header = [title, ...COLUMNS, "refused by"];
  const widths = header.map((cell, column) =>
    Math.max(cell.length, ...rows.map((row) => row[column]!.length)) // as many as the header
  );
  return [header, ...rows].map((row) =>
    row.map((cell, column) =>
      column === 0 || column === row.length - 1
        ? cell.padEnd(column === 0 ? widths[0]! : 0)
        : cell.padStart(widths[column]!)
    ).join("  ").trimEnd()
  ).join("\n");
}

function toCells(name: string, row: Row, total: number): string[] {
  const codes = Object.entries(row.refused).sort(([, a], [, b]) => b - a);
  let shown = "";
  for (const [at, [code, count]] of codes.entries()) {
    const next = `${at > 0 ? ", " : ""}${code} ${thousands(count)}`;
    if (shown.length + next.length > CODES_WIDTH) {
      shown += `, ${codes.length - at} more`;
      break;
    }
    shown += next;
  }
  return [
    name,
    thousands(row.frames),
    `${(row.frames / Math.max(1, total) * 100).toFixed(1)} %`,
    thousands(row.accepted),
    thousands(refusedOf(row)),
    row.reached > 0 ? thousands(row.reached) : "",
    shown,
  ];
}

/** Names and figures in two columns. */
export function toFigures(
  figures: readonly (readonly [name: string, value: string])[],
): string {
  const width = Math.max(...figures.map(([name]) => name.length));
  return figures.map(([name, value]) => `${name.padEnd(width)}  ${value}`)
    .join("\n");
}

/** A count as people read it. */
export function thousands(count: number): string {
  return Math.round(count).toLocaleString("en");
}

/** Bytes in MB. */
export function megabytes(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20)} MB`;
}
