/**
 * What a scenario of the bench is given and gives.
 *
 * @module
 */
import { BenchProcess } from "./bench_process.ts";
import type { OneCommitServer } from "./one_commit_server.ts";
import { ParallelProcess } from "./parallel_process.ts";
import type { RawServer } from "./raw_server.ts";
import type { ServerUnderTest } from "./server.ts";
import type { SharedServer } from "./shared_server.ts";
import { median } from "./statistics.ts";

/** A bound of a figure. */
export interface Target {
  /** What is bound: the figure's value, or its ratio to the baseline. */
  readonly of: "value" | "ratio";
  readonly atMost?: number;
  readonly atLeast?: number;
}

/** The same measurement in each round, with the median. */
export interface Series {
  /** What was measured; of a baseline: on what. */
  readonly name: string;
  readonly rounds: readonly number[];
  readonly value: number;
}

/** One figure of a scenario. */
export interface Figure extends Series {
  readonly unit: string;
  /** What it was compared with in the same rounds. */
  readonly baseline?: Series;
  readonly ratio?: number;
  readonly target?: Target;
  readonly isReached?: boolean;
  readonly note?: string;
}

/** A scenario. */
export interface Scenario {
  /** Its name on the command line. */
  readonly name: string;
  readonly title: string;
  run(bench: Bench): Promise<Figure[]>;
  /** What of it this machine cannot run, and why; undefined: nothing. */
  notRun?(): string | undefined;
}

/** What scenarios are run with. */
export class Bench {
  /** How often each measurement is made; those of one round alternate. */
  readonly rounds: number;
  readonly #folder: string;
  readonly #flags: readonly string[];
  #files = 0;

  /** A bench whose KV files lie in `folder`; servers are run with `flags` for Deno. */
  constructor(
    { rounds, folder, flags }: {
      rounds: number;
      folder: string;
      flags: readonly string[];
    },
  ) {
    this.rounds = rounds;
    this.#folder = folder;
    this.#flags = flags;
  }

  /** A path for a KV file that is not there yet. */
  newKvPath(): string {
    return `${this.#folder}/${++this.#files}.db`;
  }

  /** A path for a folder that is not there yet. */
  newFolder(): string {
    return `${this.#folder}/${++this.#files}`;
  }

  /** Starts a Headwater server. */
  startServer(options: Partial<ServerUnderTest> = {}): Promise<BenchProcess> {
    return BenchProcess.start(
      "server.ts",
      { kv: this.newKvPath(), ...options },
      { flags: this.#flags },
    );
  }

  /** Starts a server that shares its KV with others. */
  startSharedServer(
    { env = {}, ...options }: SharedServer & {
      readonly env?: Readonly<Record<string, string>>;
    },
  ): Promise<BenchProcess> {
    const flags = this.#flags;
    return BenchProcess.start("shared_server.ts", options, { flags, env });
  }

  /** Starts `deno serve --parallel` with so many isolates. */
  startParallel(isolates: number): Promise<ParallelProcess> {
    const kv = this.newKvPath();
    return ParallelProcess.start({ kv, isolates, flags: this.#flags });
  }

  /** Starts a bare server. */
  startRawServer(options: RawServer): Promise<BenchProcess> {
    return BenchProcess.start("raw_server.ts", options, { flags: this.#flags });
  }

  /** Starts a server that commits each mutation apart. */
  startOneCommitServer(): Promise<BenchProcess> {
    const options: OneCommitServer = { kv: this.newKvPath() };
    return BenchProcess.start("one_commit_server.ts", options, {
      flags: this.#flags,
    });
  }

  /** Measures everything in each round, one after the other; the order turns with the rounds. */
  async measure<Name extends string, T>(
    measurements: Readonly<Record<Name, () => Promise<T>>>,
  ): Promise<Record<Name, T[]>> {
    const names = Object.keys(measurements) as Name[];
    const results = Object.fromEntries(
      names.map((name) => [name, [] as T[]]),
    ) as Record<Name, T[]>;
    for (let round = 0; round < this.rounds; round++) {
      for (const name of round % 2 === 0 ? names : names.toReversed()) {
        const result = await measurements[name]();
        console.error(`  ${name}: ${JSON.stringify(result)}`);
        results[name].push(result);
      }
    }
    return results;
  }
}

/** What {@linkcode toFigure} makes a figure of. */
export interface FigureParts
  extends Pick<Figure, "name" | "unit" | "rounds" | "target" | "note"> {
  readonly baseline?: Pick<Series, "name" | "rounds">;
}

/** A figure with its median, its ratio and whether it is what it should be. */
export function toFigure({ baseline: parts, ...figure }: FigureParts): Figure {
  const value = median(figure.rounds);
  const baseline = parts && { ...parts, value: median(parts.rounds) };
  const ratio = baseline && value / baseline.value;
  const { of, atMost = Infinity, atLeast = -Infinity } = figure.target ??
    { of: "value" };
  const bound = of === "ratio" ? ratio ?? NaN : value;
  return {
    ...figure,
    value,
    ...(baseline && { baseline }),
    ...(ratio !== undefined && { ratio }),
    ...(figure.target && { isReached: bound <= atMost && bound >= atLeast }),
  };
}
