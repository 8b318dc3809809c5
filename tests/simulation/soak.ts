/**
 * Many histories on many threads.
 *
 * @module
 */
import { type HistoryFigures, NO_FIGURES } from "./history.ts";
import type { Assignment, Result, Said } from "./worker.ts";

/** Histories that a thread is given at once: the last one to end is waited for. */
const CHUNK = 10;

/** What to run. */
export interface SoakOptions {
  /** The first seed. */
  readonly seed: number;
  readonly histories: number;
  /** Threads. */
  readonly jobs: number;
  /** Called as histories end. */
  readonly onProgress?: (report: SoakReport) => void;
  /** Whether the first failure ends it. */
  readonly stopsAtFailure?: boolean;
}

/** A history that failed. */
export type Failure = Extract<Result, { failure: string }>;

/** What came of them. */
export interface SoakReport {
  histories: number;
  readonly figures: HistoryFigures;
  readonly failures: Failure[];
}

/** Runs the histories of `seed` and of the seeds after it. */
export async function soak(options: SoakOptions): Promise<SoakReport> {
  const { seed, histories, jobs, onProgress, stopsAtFailure } = options;
  const report: SoakReport = {
    histories: 0,
    figures: { ...NO_FIGURES },
    failures: [],
  };
  const end = seed + histories;
  let next = seed;
  const run = async () => {
    const worker = new Worker(new URL("./worker.ts", import.meta.url), {
      type: "module",
    });
    try {
      while (next < end && !(stopsAtFailure && report.failures.length > 0)) {
        const count = Math.min(CHUNK, end - next);
        const assignment: Assignment = { from: next, count };
        next += count;
        for (const result of await ask(worker, assignment)) add(report, result);
        onProgress?.(report);
      }
    } finally {
      worker.terminate();
    }
  };
  await Promise.all(Array.from({ length: jobs }, run));
  return report;
}

/** The command that runs a failed history again. */
export function commandOf({ seed }: Failure): string {
  return `deno task soak --seed ${seed} --histories 1 --trace`;
}

function ask(
  worker: Worker,
  assignment: Assignment,
): Promise<readonly Result[]> {
  let seed = assignment.from;
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }: MessageEvent<Said>) => {
      if ("results" in data) resolve(data.results);
      else seed = data.begins;
    };
    worker.onerror = (event) => {
      event.preventDefault();
      const message = `A thread ended at seed ${seed}: ${event.message}`;
      reject(new Error(message));
    };
    worker.postMessage(assignment);
  });
}

function add(report: SoakReport, result: Result): void {
  report.histories++;
  if ("failure" in result) {
    report.failures.push(result);
    return;
  }
  for (const key of Object.keys(report.figures) as (keyof HistoryFigures)[]) {
    report.figures[key] += result.figures[key];
  }
}
