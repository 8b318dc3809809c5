/**
 * One job: round after round, each on a new file, until all kills are done.
 *
 * @module
 */
import type { Breach } from "./account.ts";
import { KillPlan, seeded } from "./plan.ts";
import { type RoundFigures, type RoundOptions, runRound } from "./round.ts";

/** What a job does. */
export interface JobOptions {
  readonly seed: number;
  readonly kills: number;
  /** Points where a server must have died at the end. */
  readonly points: readonly string[];
  /** Folder for the files of this job. */
  readonly folder: string;
  /** Number of the job: jobs begin with different kinds of rounds. */
  readonly job: number;
}

/** How far a job is, and at the end what came of it. */
export interface JobReport {
  readonly figures: RoundFigures;
  /** How often servers died at each point. */
  readonly hits: Readonly<Record<string, number>>;
  readonly breaches: readonly Breach[];
  /** Folder of the round with the breaches, which is kept. */
  readonly kept?: string;
}

/** How often a file is used up. */
const KILLS_PER_ROUND = 16;
const KILLS_PER_CHECK = 8;

/** Rounds take turns. */
const ROUNDS: readonly Pick<RoundOptions, "open" | "servers">[] = [
  { open: "file", servers: 1 },
  { open: "object", servers: 1 },
  { open: "file", servers: 2 },
  { open: "plain", servers: 1 },
  { open: "object", servers: 1 },
  { open: "file", servers: 1 },
  { open: "plain", servers: 2 },
  { open: "file", servers: 2 },
];

/** Runs a job. */
export async function runJob(
  { seed, kills, points, folder, job }: JobOptions,
  progress: (report: JobReport) => void,
): Promise<JobReport> {
  const random = seeded(seed);
  const plan = new KillPlan(points, random);
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
  const report = () => ({ figures, hits: Object.fromEntries(plan.hits) });
  for (let round = 0; figures.kills < kills; round++) {
    const path = `${folder}/job_${job}_round_${round}`;
    await Deno.mkdir(path);
    const { breaches } = await runRound({
      ...ROUNDS[(job + round) % ROUNDS.length]!, // it has some
      folder: path,
      kills: Math.min(KILLS_PER_ROUND, kills - figures.kills),
      jobKills: kills,
      checkEvery: KILLS_PER_CHECK,
      plan,
      random,
      figures,
      progress: () => progress({ ...report(), breaches: [] }),
    });
    if (breaches.length > 0) return { ...report(), breaches, kept: path };
    await Deno.remove(path, { recursive: true });
  }
  return { ...report(), breaches: [] };
}
