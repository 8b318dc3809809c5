/**
 * One thread of the fuzzer.
 *
 * @module
 */
import { type CodecResult, CodecTarget } from "./codec_target.ts";
import { type HttpResult, runHttp } from "./http_target.ts";
import { type LiveResult, LiveTarget, type Way } from "./live_target.ts";

/** What a thread is to do; `counters` holds how far it is, and the input at hand. */
export type Part =
  & { readonly seed: number; readonly counters: SharedArrayBuffer }
  & (
    | { readonly target: "codec"; readonly from: number; readonly to: number }
    | { readonly target: "live"; readonly way: Way; readonly frames: number }
    | { readonly target: "http"; readonly requests: number }
  );

/** What it gives, or why it could not. */
export type PartResult =
  | { readonly target: "codec"; readonly result: CodecResult }
  | { readonly target: "live"; readonly result: LiveResult }
  | { readonly target: "http"; readonly result: HttpResult }
  | { readonly target: "none"; readonly error: string };

async function run(part: Part): Promise<PartResult> {
  const counters = new Float64Array(part.counters);
  const onProgress = (done: number) => void (counters[0] = done);
  const { seed, target } = part;
  switch (target) {
    case "codec": {
      const { from, to } = part;
      const onInput = (index: number) => {
        counters[0] = index - from;
        counters[1] = index;
      };
      const codec = await CodecTarget.create();
      return { target, result: await codec.run({ seed, from, to, onInput }) };
    }
    case "live": {
      const { frames, way } = part;
      return {
        target,
        result: await LiveTarget.run({ seed, frames, way, onProgress }),
      };
    }
    case "http": {
      const { requests } = part;
      return { target, result: await runHttp({ seed, requests, onProgress }) };
    }
  }
}

self.onmessage = async ({ data }: MessageEvent<Part>) => {
  let result: PartResult;
  try {
    result = await run(data);
  } catch (error) {
    const text = error instanceof Error ? error.stack : undefined;
    result = { target: "none", error: text ?? String(error) };
  }
  self.postMessage(result);
};
