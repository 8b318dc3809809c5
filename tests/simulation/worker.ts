/// <reference lib="deno.worker" />
/**
 * Runs histories in a thread of its own.
 *
 * @module
 */
import { FailedHistory, type HistoryFigures, runHistory } from "./history.ts";

/** Seeds to run: `from`, and those after it. */
export interface Assignment {
  readonly from: number;
  readonly count: number;
}

/** What came of one history. */
export type Result =
  | { readonly seed: number; readonly figures: HistoryFigures }
  | {
    readonly seed: number;
    readonly failure: string;
    readonly stack: string;
    readonly trace: readonly string[];
  };

/** What a worker says: which history it begins, and what came of all of them. */
export type Said = { readonly begins: number } | {
  readonly results: readonly Result[];
};

self.onmessage = async ({ data }: MessageEvent<Assignment>) => {
  const results: Result[] = [];
  for (let seed = data.from; seed < data.from + data.count; seed++) {
    say({ begins: seed });
    results.push(await resultOf(seed));
  }
  say({ results });
};

function say(what: Said): void {
  self.postMessage(what);
}

async function resultOf(seed: number): Promise<Result> {
  try {
    return { seed, figures: await runHistory(seed) };
  } catch (error) {
    if (!(error instanceof FailedHistory)) throw error;
    const { message: failure, trace, cause } = error;
    const stack = cause instanceof Error ? cause.stack ?? "" : "";
    return { seed, failure, stack, trace };
  }
}
