/**
 * What the torture prints.
 *
 * @module
 */
import type { Breach } from "./account.ts";
import type { JobReport } from "./job.ts";
import { POINTS } from "./points.ts";
import type { RoundFigures } from "./round.ts";

/** Breaches that are printed; the rest follows from these. */
const SHOWN_BREACHES = 12;
const BREACH_LENGTH = 400;

/** All jobs together. */
export interface Sum {
  readonly figures: RoundFigures;
  readonly hits: ReadonlyMap<string, number>;
  readonly breaches: readonly Breach[];
  /** Folders that are kept, since they show a breach. */
  readonly kept: readonly string[];
}

/** Fewer kills may well miss a point: half of them come at random. */
const KILLS_FOR_ALL_POINTS = 200;

/** Points where a server should have been killed and never was. */
export function missedOf({ hits }: Sum): string[] {
  return [...hits].filter(([, count]) => count === 0).map(([point]) => point);
}

/** Whether a promise was broken, or so many kills have missed a point. */
export function isFailed(sum: Sum): boolean {
  return sum.breaches.length > 0 ||
    (missedOf(sum).length > 0 && sum.figures.kills >= KILLS_FOR_ALL_POINTS);
}

/** Adds jobs up. */
export function sumOf(reports: readonly JobReport[]): Sum {
  const figures: RoundFigures = {
    kills: 0,
    restarts: 0,
    checks: 0,
    acked: 0,
    resent: 0,
    resumes: 0,
    snapshots: 0,
    found: 0,
    absent: 0,
    recoveryMs: 0,
  };
  const hits = new Map<string, number>();
  for (const report of reports) {
    // Its keys are those of the interface, and no others.
    for (const key of Object.keys(figures) as (keyof RoundFigures)[]) {
      figures[key] = key === "recoveryMs"
        ? Math.max(figures[key], report.figures[key])
        : figures[key] + report.figures[key];
    }
    for (const [point, count] of Object.entries(report.hits)) {
      hits.set(point, (hits.get(point) ?? 0) + count);
    }
  }
  return {
    figures,
    hits,
    breaches: reports.flatMap(({ breaches }) => breaches),
    kept: reports.flatMap(({ kept }) => kept ?? []),
  };
}

/** One line that says how far it is. */
export function progressLine(
  { figures, hits }: Sum,
  { kills, seconds }: { kills: number; seconds: number },
): string {
  const reached = [...hits.values()].filter((count) => count > 0).length;
  return `${
    seconds.toFixed(0).padStart(4)
  } s  ${figures.kills}/${kills} kills, ` +
    `${reached}/${hits.size} points, ${
      show(figures.acked)
    } writes acknowledged`;
}

/** The table of points: what each is, and how often a server died there. */
export function pointsTable(hits?: ReadonlyMap<string, number>): string {
  const kinds = [...new Set(POINTS.map(({ name }) => kindOf(name)))];
  const count = (name: string) => hits ? String(hits.get(name) ?? "-") : "x";
  const rows = kinds.map((kind) => {
    const what = POINTS.find(({ name }) => kindOf(name) === kind)?.what ?? "";
    return [kind, count(`${kind}:before`), count(`${kind}:after`), what];
  });
  const header = ["killed at", "before", "after", ""];
  return [header, ...rows].map((
    [kind = "", before = "", after = "", what = ""],
  ) =>
    `  ${kind.padEnd(14)}${before.padStart(6)}${after.padStart(7)}  ${what}`
      .trimEnd()
  ).join("\n");
}

/** What was broken, as far as it fits on a page; what was said by several, once. */
export function breachLines(breaches: readonly Breach[]): string {
  const counts = new Map<string, number>();
  for (const { kind, text } of breaches) {
    const line = `  ${kind.padEnd(6)} ${text.slice(0, BREACH_LENGTH)}`;
    counts.set(line, (counts.get(line) ?? 0) + 1);
  }
  const lines = [...counts].slice(0, SHOWN_BREACHES)
    .map(([line, count]) => count > 1 ? `${line} (${count} times)` : line);
  const more = counts.size - lines.length;
  return [...lines, ...(more > 0 ? [`  and ${more} more`] : [])].join("\n");
}

/** The figures, last of all. */
export function figureLines({ figures, hits, breaches }: Sum): string {
  const at = [...hits.values()].reduce((sum, count) => sum + count, 0);
  const count = (kind: Breach["kind"]) =>
    breaches.filter((breach) => breach.kind === kind).length;
  const { found, absent, resumes, snapshots } = figures;
  const rows: [string, number | string, string][] = [
    [
      "kills",
      figures.kills,
      `${show(at)} at points, ${show(figures.kills - at)} at random`,
    ],
    ["restarts", figures.restarts, ""],
    ["checks of the whole file", figures.checks, ""],
    ["calls sent again", figures.resent, ""],
    [
      "subscriptions taken up",
      resumes + snapshots,
      `${show(resumes)} resumed, ${show(snapshots)} by snapshot`,
    ],
    [
      "writes nobody was told of",
      found + absent,
      `${show(found)} found, ${show(absent)} not there`,
    ],
    [
      "longest recovery",
      `${Math.round(figures.recoveryMs)} ms`,
      "from start to first answer",
    ],
    [
      "writes acknowledged",
      figures.acked,
      `lost ${count("lost")}, twice ${count("twice")}, otherwise wrong ${
        count("wrong")
      }`,
    ],
  ];
  return rows.map(([name, figure, note]) => {
    const text = typeof figure === "number" ? show(figure) : figure;
    return `  ${name.padEnd(27)}${text.padStart(9)}  ${note}`.trimEnd();
  }).join("\n");
}

function kindOf(point: string): string {
  return point.split(":")[0] ?? "";
}

function show(number: number): string {
  return number.toLocaleString("en");
}
