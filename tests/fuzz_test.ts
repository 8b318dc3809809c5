/**
 * A short run of the fuzzer with a fixed seed: every decoder, whole servers and
 * HTTP, with all the checks of a long run. `deno task fuzz` is the long one. And
 * that the fuzzer notices what it is there for.
 */
import assert from "node:assert/strict";
import { cpuUsage } from "node:process";
import { fileURLToPath } from "node:url";
import { CodecTarget } from "../scripts/fuzz/codec_target.ts";
import { SLOW_MS } from "../scripts/fuzz/contract.ts";
import type { Decoder } from "../scripts/fuzz/decoder.ts";
import { type LiveResult, WAYS } from "../scripts/fuzz/live_target.ts";
import {
  addLive,
  findFaults,
  measureAgain,
  newOutcome,
} from "../scripts/fuzz/run.ts";
import { findGaps, type Tally } from "../scripts/fuzz/tally.ts";
import { HeadwaterError } from "../protocol/errors.ts";
import { freshProcess, tempDir, within } from "./_harness.ts";

const SCRIPT = fileURLToPath(import.meta.resolve("../scripts/fuzz/main.ts"));
const FRAMES = 200_000;
/** Of which it takes a part; a machine that is busy with other tests needs more. */
const RUN_MS = 240_000;

Deno.test("200,000 hostile frames, at least half of them after a proper hello, end in documented codes, quickly, and reach every decoder", async () => {
  const args = ["--frames", String(FRAMES), "--seed", "20240607"];
  await using run = freshProcess([SCRIPT, ...args]);
  const { code } = await within(run.exited, {
    ms: RUN_MS,
    describe: () => `the end of the run\n${run.output}`,
  });
  assert.equal(code, 0, run.output);
  const numberIn = (pattern: RegExp) =>
    Number(pattern.exec(run.output)?.[1]?.replaceAll(",", ""));
  // HTTP requests are not among them.
  const frames = numberIn(/^No failure in ([\d,]+) frames and/m);
  assert.ok(frames >= FRAMES, run.output);
  const alone = numberIn(/^frames to decoders alone +([\d,]+)$/m);
  const share = numberIn(/^of all, after a proper hello +([\d.]+) %$/m);
  assert.ok(share >= 50 && frames - alone >= frames / 2, run.output);
  for (const way of WAYS) {
    const sent = numberIn(
      new RegExp(`^frames to servers, ${way} +([\\d,]+)$`, "m"),
    );
    assert.ok(sent >= FRAMES / 200, `${way}: ${sent}`);
  }
});

Deno.test("deno task fuzz prints how it is used where its options cannot be meant, and runs a case from a file", async () => {
  for (
    const args of [
      ["--frames", "many"],
      ["--frames", "0"],
      ["--seed", "x"],
      ["--frame", "5"],
      ["--replay", "no such file"],
      ["--replay", "{}"],
    ]
  ) {
    await using run = freshProcess([SCRIPT, ...args]);
    const { code } = await within(run.exited, {
      ms: 20_000,
      describe: () => "",
    });
    assert.equal(code, 2, run.output);
    assert.match(run.output, /^Usage: deno task fuzz /m);
    assert.doesNotMatch(run.output, /\.ts:\d/, "a stack trace");
  }
  await using folder = await tempDir();
  const path = `${folder.path}/case.json`;
  const input = { target: "codec", decoder: "value", hex: ["c0"] };
  await Deno.writeTextFile(path, JSON.stringify(input));
  await using run = freshProcess([SCRIPT, "--replay", path]);
  await run.line(/^It does not fail\.$/);
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
    burn(5 * SLOW_MS);
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

/** Busy for so long, by the clock and by the processor: whichever is less counts. */
function burn(ms: number): void {
  const before = cpuUsage();
  const end = performance.now() + ms;
  while (performance.now() < end || cpuUsage(before).user < 1_000 * ms);
}

Deno.test("CodecTarget.run() ends early where nearly everything is slow, and goes on where some is", async () => {
  let inputs = 0;
  const slow = decoder(() => {
    inputs++;
    burn(SLOW_MS + 5);
  });
  const options = { seed: 1, from: 0, to: 10_000 };
  const cut = await new CodecTarget([slow]).run(options);
  assert.deepEqual([cut.isCut, inputs], [true, 50]);
  const now = decoder(() => {
    if (inputs++ % 200 === 0) burn(SLOW_MS + 5);
  });
  const { isCut, slowCount } = await new CodecTarget([now]).run(options);
  assert.deepEqual([isCut, slowCount >= 50], [false, true]);
});

Deno.test("measureAgain() stops at the first input that is slow alone, too", async () => {
  const slowHex = "c0c1c2c3c4c5";
  let burnt = 0;
  const slow = decoder((bytes) => {
    if (bytes.toHex() !== slowHex) return;
    burnt++;
    // So far over the limit that no other look is needed.
    burn(5 * SLOW_MS);
  });
  const target = new CodecTarget([slow]);
  const part = await target.run({ seed: 1, from: 0, to: 1 });
  const input = {
    decoder: "planted",
    kind: "random",
    bytes: Uint8Array.fromHex(slowHex),
    ms: 300,
  } as const;
  const outcome = newOutcome();
  outcome.codec.push({ ...part, slow: [input, input, input] });
  const seen: string[] = [];
  const onProgress = (done: number, total: number) =>
    void seen.push(`${done} of ${total}`);
  const ms = await measureAgain(outcome, { target, onProgress });
  assert.ok(ms >= 5 * SLOW_MS);
  assert.deepEqual(outcome.found.map(({ hex }) => hex), [[slowHex]]);
  assert.deepEqual([burnt, seen], [3, ["0 of 3"]]);
});

Deno.test("findFaults() notices where too few frames came after a proper hello, and a run that was cut", async () => {
  const outcome = newOutcome();
  const row = {
    frames: 100,
    accepted: 50,
    refused: { limit: 50 },
    reached: 50,
  };
  const live: LiveResult = {
    way: "native",
    frames: { ping: row },
    found: [],
    greeted: 90,
    connections: 1,
    planted: 0,
    honestWrites: 1,
    slow: [],
    isCut: false,
    slowestMs: 1,
    longestTurnMs: 1,
    bytesBefore: 0,
    bytesAfter: 0,
  };
  addLive(outcome, live);
  assert.deepEqual(faultsOf(await findFaults(outcome)), []);
  // Those that never come to a server count, too.
  outcome.decoders["ping"] = row;
  assert.deepEqual(faultsOf(await findFaults(outcome)), [
    "only 45.0 % came after a proper hello",
  ]);
  outcome.lives.push({ ...live, greeted: 20, isCut: true });
  assert.deepEqual(faultsOf(await findFaults(outcome)), [
    "a part ended early: it was slow again and again",
  ]);
});

/** Without the decoders that were hardly reached, of which there are many here. */
function faultsOf(faults: readonly string[]): string[] {
  return faults.filter((fault) =>
    !fault.includes(": ") || /^a part/.test(fault)
  );
}

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
