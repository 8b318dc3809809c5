/**
 * A short run of the fuzzer with a fixed seed: every decoder, live servers and
 * HTTP, with all the checks of a long run. `deno task fuzz` is the long one. And
 * that the fuzzer notices what it is there for.
 */
import assert from "node:assert/strict";
import { cpuUsage } from "node:process";
import { fileURLToPath } from "node:url";
import { CodecTarget } from "../scripts/fuzz/codec_target.ts";
import { SLOW_MS } from "../scripts/fuzz/contract.ts";
import type { Decoder } from "../scripts/fuzz/decoder.ts";
import { findGaps, type Tally } from "../scripts/fuzz/tally.ts";
import { HeadwaterError } from "../protocol/errors.ts";
import { freshProcess } from "./_harness.ts";

const SCRIPT = fileURLToPath(import.meta.resolve("../scripts/fuzz/main.ts"));
const FRAMES = 200_000;

Deno.test("200,000 hostile frames end in documented codes, quickly, and reach every decoder", async () => {
  const args = ["--frames", String(FRAMES), "--seed", "20240607"];
  await using run = freshProcess([SCRIPT, ...args]);
  const { code } = await run.exited;
  const [, count = "0"] = await run.line(/^No failure in ([\d,]+) frames\.$/)
    .catch((error) => assert.fail(`exit ${code}: ${error.message}`));
  assert.equal(code, 0, run.output);
  assert.ok(Number(count.replaceAll(",", "")) >= FRAMES, run.output);
});

/** A decoder that takes everything but what `refuse` throws at. */
function decoder(
  refuse: (bytes: Uint8Array, end: () => void) => void,
): Decoder {
  return {
    name: "planted",
    draft: () => ["abc", 1],
    run(bytes, watch) {
      refuse(bytes, () => watch.end());
      return undefined;
    },
    peek: () => undefined,
  };
}

async function failuresOf(planted: Decoder, inputs: number): Promise<string[]> {
  const target = new CodecTarget([planted]);
  const { found, slow } = await target.run({ seed: 1, from: 0, to: inputs });
  for (const input of slow.slice(0, 1)) {
    const ms = await target.timeOf(input);
    if (ms > SLOW_MS) return [`${ms} ms`];
  }
  return found.map(({ failure }) => failure);
}

Deno.test("CodecTarget finds an error without a code, a slow input, one that changes, and one that is taken for nothing", async () => {
  const bad = () => new HeadwaterError("bad_value", "no");
  const failures = (refuse: Parameters<typeof decoder>[0], inputs = 20) =>
    failuresOf(decoder(refuse), inputs);
  assert.deepEqual(
    await failures(() => {
      throw bad();
    }),
    [],
  );
  const typeErrors = await failures((bytes) => {
    if (bytes[0] === 0x92) throw new TypeError("planted");
  });
  assert.match(typeErrors[0] ?? "", /^no documented error: TypeError: planted/);
  const [slow] = await failures(() => {
    // By the clock and by the processor: whichever is less counts.
    const before = cpuUsage();
    const end = performance.now() + 5 * SLOW_MS;
    while (
      performance.now() < end || cpuUsage(before).user < 5_000 * SLOW_MS
    );
  }, 1);
  assert.match(slow ?? "none", /\d ms/);
  const [changed] = await failures((bytes) => void (bytes[0]! ^= 1));
  assert.equal(changed, "a decoder has changed its input");
  const [taken] = await failures((_, end) => {
    end();
    throw bad();
  });
  assert.equal(taken, "taken, then HeadwaterError: no");
});

Deno.test("findGaps() names decoders that were hardly reached, took nothing or refused nothing", () => {
  const row = { frames: 500, accepted: 1, refused: { limit: 1 }, reached: 1 };
  const tally: Tally = {
    good: row,
    "never takes": { ...row, accepted: 0 },
    "never refuses": { ...row, refused: {} },
    rare: { ...row, frames: 7 },
  };
  assert.deepEqual(findGaps(tally, ["good"]), []);
  assert.deepEqual(findGaps(tally, [...Object.keys(tally), "absent"]), [
    "never takes: none accepted",
    "never refuses: none refused",
    "rare: 0.46 % of the frames",
    "absent: 0.00 % of the frames",
    "absent: none accepted",
    "absent: none refused",
  ]);
});
