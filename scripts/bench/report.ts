/**
 * The table at the end, and the machine that it was measured on.
 *
 * @module
 */
import type { Figure } from "./scenario.ts";

/** Where the figures come from. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly kernel: string;
  readonly deno: string;
  readonly v8: string;
  /** Over 1, 5 and 15 minutes. */
  readonly load: readonly number[];
}

/** A scenario's figures, or why there are none. */
export interface ScenarioReport {
  readonly name: string;
  readonly title: string;
  readonly seconds: number;
  readonly figures: readonly Figure[];
  readonly error?: string | undefined;
}

/** The machine as it is now. */
export function readMachine(): Machine {
  const [, cpu = "unknown"] =
    /^model name\s*:\s*(.+)$/m.exec(Deno.readTextFileSync("/proc/cpuinfo")) ??
      [];
  return {
    cpu,
    cores: navigator.hardwareConcurrency,
    memoryGiB: round(Deno.systemMemoryInfo().total / 2 ** 30),
    kernel: Deno.osRelease(),
    deno: Deno.version.deno,
    v8: Deno.version.v8,
    load: Deno.loadavg().map((load) => Math.round(load * 100) / 100),
  };
}

/** All figures as a table. */
export function toTable(scenarios: readonly ScenarioReport[]): string {
  const header = [
    "",
    "headwater",
    "baseline",
    "ratio",
    "target",
    "",
    "rounds",
    "baseline is; note",
  ];
  const rows: (string[] | string)[] = [header];
  for (const { title, figures, error, seconds } of scenarios) {
    rows.push("", `${title} (${Math.round(seconds)} s)`);
    if (error !== undefined) {
      rows.push(`  could not run: ${error.split("\n")[0]}`);
    }
    for (const figure of figures) rows.push(toRow(figure));
  }
  const widths = header.map((_, column) =>
    Math.max(
      ...rows.map((row) => typeof row === "string" ? 0 : row[column]!.length),
    )
  );
  return rows.map((row) => {
    if (typeof row === "string") return row;
    const cells = row.map((cell, column) =>
      column === 0 || column >= 4
        ? cell.padEnd(widths[column]!)
        : cell.padStart(widths[column]!)
    );
    return cells.join("  ").trimEnd();
  }).join("\n");
}

function toRow(figure: Figure): string[] {
  const { name, unit, value, rounds, baseline, ratio, isReached, note } =
    figure;
  return [
    `  ${name}`,
    `${show(value)} ${unit}`.trimEnd(),
    baseline ? show(baseline.value) : "",
    ratio === undefined ? "" : `${show(ratio)} ×`,
    showTarget(figure),
    isReached === undefined ? "" : isReached ? "ok" : "MISSED",
    rounds.map(show).join(" "),
    [baseline?.name, note].filter((text) => text !== undefined).join("; "),
  ];
}

function showTarget({ target, unit }: Figure): string {
  if (!target) return "";
  const of = target.of === "ratio" ? "×" : unit;
  return target.atMost === undefined
    ? `≥ ${target.atLeast} ${of}`
    : `≤ ${target.atMost} ${of}`;
}

function show(number: number): string {
  if (!Number.isFinite(number)) return "-";
  return Math.abs(number) >= 1_000
    ? Math.round(number).toLocaleString("en")
    : String(round(number));
}

/** Three digits are more than the rounds agree on. */
function round(number: number): number {
  return Number(number.toPrecision(3));
}
