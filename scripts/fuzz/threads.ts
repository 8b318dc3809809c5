/**
 * Runs parts of the work in threads, and notices one that does not come back.
 *
 * @module
 */
import { CodecTarget, type Found } from "./codec_target.ts";
import type { Part, PartResult } from "./worker.ts";

/** A thread that makes no progress for so long hangs. */
const HANG_MS = 60_000;
const LOOK_MS = 250;

/** A part without what the threads themselves need. */
export type Work = DistributiveOmit<Part, "counters">;

type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K>
  : never;

/** Runs all parts at once; `onProgress` gets what they have done together. */
export async function runParts(
  parts: readonly Work[],
  onProgress: (done: number) => void,
): Promise<{ results: PartResult[]; hung: Found[] }> {
  const hung: Found[] = [];
  const counters = parts.map(() => new SharedArrayBuffer(16));
  const report = () => {
    let done = 0;
    for (const counter of counters) done += new Float64Array(counter)[0]!; // two each
    onProgress(done);
  };
  const timer = setInterval(report, LOOK_MS);
  try {
    const results = await Promise.all(parts.map(async (part, index) => {
      const result = await runPart({ ...part, counters: counters[index]! }); // one each
      if (result.target === "none" && part.target === "codec") {
        const current = new Float64Array(counters[index]!)[1]!;
        const codec = await CodecTarget.create();
        const { decoder, bytes } = codec.makeCase(part.seed, current);
        const { error: failure } = result;
        hung.push({ target: "codec", decoder, hex: [bytes.toHex()], failure });
      }
      return result;
    }));
    return { results, hung };
  } finally {
    clearInterval(timer);
    report();
  }
}

async function runPart(part: Part): Promise<PartResult> {
  const url = new URL("./worker.ts", import.meta.url);
  const worker = new Worker(url, { type: "module" });
  const counter = new Float64Array(part.counters);
  const { promise, resolve } = Promise.withResolvers<PartResult>();
  worker.onmessage = ({ data }: MessageEvent<PartResult>) => resolve(data);
  worker.onerror = (event) => {
    event.preventDefault();
    resolve({ target: "none", error: event.message });
  };
  let [seen, seenAtMs] = [-1, performance.now()];
  const timer = setInterval(() => {
    const now = performance.now();
    if (counter[0] !== seen) [seen, seenAtMs] = [counter[0]!, now];
    if (now - seenAtMs < HANG_MS) return;
    resolve({ target: "none", error: `it does not end within ${HANG_MS} ms` });
  }, LOOK_MS);
  worker.postMessage(part);
  try {
    return await promise;
  } finally {
    clearInterval(timer);
    worker.terminate();
  }
}
