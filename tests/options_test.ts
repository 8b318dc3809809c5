/** What scripts make of their options. */
import assert from "node:assert/strict";
import { readOptions, usageOf } from "../scripts/options.ts";

const SPEC = {
  numbers: {
    histories: { initial: 10, least: 1 },
    seed: { initial: 1, least: 0 },
  },
  texts: ["only"],
  switches: ["trace"],
} as const;

Deno.test("readOptions() reads numbers, texts and switches, in any order", () => {
  const args = ["--only", "a", "--seed", "0", "--trace", "--only", "b"];
  assert.deepEqual(readOptions(args, SPEC), {
    numbers: { histories: 10, seed: 0 },
    texts: { only: ["a", "b"] },
    switches: new Set(["trace"]),
  });
});

Deno.test("readOptions() says what is wrong", () => {
  const wrong: [string[], string][] = [
    [["--histories", "0"], "--histories is at least 1, not 0"],
    [["--histories", "-1"], '--histories is a number, not "-1"'],
    [["--histories", "ten"], '--histories is a number, not "ten"'],
    [["--histories"], "--histories has no value"],
    [["--only"], "--only has no value"],
    [["--toString", "1"], '"--toString" is no option'],
    [["100"], '"100" is no option'],
    [["--help"], ""],
  ];
  for (const [args, message] of wrong) {
    assert.equal(readOptions(args, SPEC), message);
  }
});

Deno.test("usageOf() begins with what is wrong, if anything is", () => {
  assert.equal(usageOf("Usage", ""), "Usage");
  assert.equal(usageOf("Usage", "No"), "No\n\nUsage");
});
