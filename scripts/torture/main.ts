/**
 * Kills real servers over real KV files while real clients write, and looks
 * whether a promise was broken.
 *
 * Run it by `deno task torture`. Options:
 *
 * - `--kills 200`: how often a server is killed with SIGKILL.
 * - `--seed 7`: the same choices again (the moments will differ).
 * - `--jobs 4`: how many files are worked on at once.
 * - `--points`: prints the points where servers are killed, and ends.
 *
 * The exit code is 1 if anything is wrong, or if 200 kills or more have never
 * reached some point; 2 if an option cannot be meant.
 *
 * @module
 */
import { parseArgs } from "node:util";
import type { JobOptions, JobReport } from "./job.ts";
import type { JobNews } from "./job_worker.ts";
import { seeded, shuffled } from "./plan.ts";
import { POINTS } from "./points.ts";
import {
  breachLines,
  figureLines,
  isFailed,
  missedOf,
  pointsTable,
  progressLine,
  sumOf,
} from "./report.ts";

const USAGE =
  "Usage: deno task torture [--kills 200] [--seed 7] [--jobs 4] [--points]";
/** Lines of progress where there is no terminal. */
const LINE_MS = 10_000;
const MOST_JOBS = 4;

/** Runs everything; returns the exit code. */
async function main(args: string[]): Promise<number> {
  let values;
  try {
    ({ values } = parseArgs({
      args,
      options: {
        kills: { type: "string", default: "200" },
        seed: { type: "string" },
        jobs: { type: "string" },
        points: { type: "boolean", default: false },
      },
    }));
  } catch {
    console.error(USAGE);
    return 2;
  }
  if (values.points) {
    console.log(pointsTable());
    return 0;
  }
  const kills = Number(values.kills);
  const cores = navigator.hardwareConcurrency;
  const seed = Number(
    values.seed ?? crypto.getRandomValues(new Uint32Array(1))[0],
  );
  const jobs = Math.min(
    kills,
    Number(values.jobs ?? Math.min(MOST_JOBS, cores)),
  );
  if (!(kills >= 1) || !(jobs >= 1) || !(seed >= 0)) {
    console.error(USAGE);
    return 2;
  }
  const folder = await Deno.makeTempDir({ prefix: "headwater_torture_" });
  console.log(`${kills} kills in ${jobs} jobs, seed ${seed}`);
  const sum = sumOf(await runJobs({ kills, jobs, seed, folder }));
  const missed = missedOf(sum);
  console.log(`\n${pointsTable(sum.hits)}\n`);
  if (sum.breaches.length > 0) {
    console.log(`Broken, with seed ${seed}:\n${breachLines(sum.breaches)}`);
    console.log(`Kept: ${sum.kept.join(" ")}\n`);
  } else {
    await Deno.remove(folder, { recursive: true });
    if (missed.length > 0) console.log(`Never reached: ${missed.join(" ")}\n`);
  }
  console.log(figureLines(sum));
  return isFailed(sum) ? 1 : 0;
}

/** Runs the jobs side by side, and tells how far they are. */
async function runJobs(
  { kills, jobs, seed, folder }: {
    kills: number;
    jobs: number;
    seed: number;
    folder: string;
  },
): Promise<JobReport[]> {
  const startMs = performance.now();
  const reports: JobReport[] = [];
  const print = progressPrinter(() =>
    progressLine(sumOf(reports), {
      kills,
      seconds: (performance.now() - startMs) / 1000,
    })
  );
  // Half of the kills are at random.
  const points = shuffled(POINTS.map(({ name }) => name), seeded(seed))
    .slice(0, Math.ceil(kills / 2));
  await Promise.all(Array.from({ length: jobs }, async (_, job) => {
    const options: JobOptions = {
      job,
      folder,
      seed: seed + job,
      kills: Math.floor(kills / jobs) + (job < kills % jobs ? 1 : 0),
      points: points.filter((_, index) => index % jobs === job),
    };
    reports[job] = await runInWorker(options, (report) => {
      reports[job] = report;
      print();
    });
  }));
  print(true);
  return reports;
}

async function runInWorker(
  options: JobOptions,
  progress: (report: JobReport) => void,
): Promise<JobReport> {
  const url = new URL("./job_worker.ts", import.meta.url);
  const worker = new Worker(url, { type: "module" });
  try {
    return await new Promise((resolve, reject) => {
      worker.onmessage = ({ data }: MessageEvent<JobNews>) => {
        if ("error" in data) reject(new Error(data.error));
        else if (data.isDone) resolve(data.report);
        else progress(data.report);
      };
      worker.onerror = ({ message }) => reject(new Error(message));
      worker.postMessage(options);
    });
  } finally {
    worker.terminate();
  }
}

/** Prints a line in its place on a terminal, elsewhere now and then. */
function progressPrinter(line: () => string): (isLast?: boolean) => void {
  const isTerminal = Deno.stdout.isTerminal();
  let printedAtMs = performance.now();
  return (isLast = false) => {
    if (isTerminal) {
      const end = isLast ? "\n" : "";
      Deno.stdout.writeSync(
        new TextEncoder().encode(`\r\x1b[K${line()}${end}`),
      );
    } else if (isLast || performance.now() - printedAtMs >= LINE_MS) {
      printedAtMs = performance.now();
      console.log(line());
    }
  };
}

if (import.meta.main) Deno.exit(await main(Deno.args));
