import assert from "node:assert/strict";
import { finalError, retryDelayMs } from "../client/backoff.ts";
import { CLOSE } from "../protocol/frames.ts";

const LEAST = { delayMs: 1_000, maxMs: 10_000, random: () => 0 };
const MIDDLE = { ...LEAST, random: () => 0.5 };
const MOST = { ...LEAST, random: () => 0.999999 };

Deno.test("retryDelayMs() doubles from the first delay to the longest", () => {
  const delays = [1, 2, 3, 4, 5, 6, 60, 2_000].map((attempt) =>
    Math.round(retryDelayMs(attempt, 1006, MOST))
  );
  assert.deepEqual(delays, [
    1_000,
    2_000,
    4_000,
    8_000,
    10_000,
    10_000,
    10_000,
    10_000,
  ]);
});

Deno.test("retryDelayMs() leaves the upper half to chance", () => {
  assert.equal(retryDelayMs(3, 1006, LEAST), 2_000);
  assert.equal(retryDelayMs(3, 1006, MIDDLE), 3_000);
});

Deno.test("retryDelayMs() spreads the first attempts after a server went away from 0 to twice the delay", () => {
  assert.equal(retryDelayMs(1, CLOSE.goingAway, LEAST), 0);
  assert.equal(retryDelayMs(1, CLOSE.goingAway, MIDDLE), 1_000);
  assert.equal(Math.round(retryDelayMs(1, CLOSE.goingAway, MOST)), 2_000);
  assert.equal(retryDelayMs(2, CLOSE.goingAway, LEAST), 1_000);
});

Deno.test("retryDelayMs() starts higher after an eviction, a flood and where the server is full", () => {
  for (const code of [CLOSE.tooSlow, CLOSE.flooding, CLOSE.full]) {
    assert.equal(retryDelayMs(1, code, LEAST), 4_000);
  }
  for (const code of [1000, 1006, 1011, CLOSE.silent, CLOSE.helloTimeout]) {
    assert.equal(retryDelayMs(1, code, LEAST), 500);
  }
});

Deno.test("finalError() names the cause of the codes that are final, and of no others", () => {
  for (const code of Object.values(CLOSE)) {
    const isFinal = ([
      CLOSE.badFrame,
      CLOSE.badVersion,
      CLOSE.refused,
      CLOSE.tooBig,
    ] as number[]).includes(
      code,
    );
    const error = finalError({ code, reason: "so it says" });
    assert.equal(error !== undefined, isFinal, `code ${code}`);
    if (error) {
      assert.match(
        error.message,
        new RegExp(`^Cannot .* \\(${code}: so it says\\)$`),
      );
      assert.deepEqual(error.data, { code, reason: "so it says" });
    }
  }
  assert.match(finalError({ code: 4003, reason: "" })!.message, /\(4003\)$/);
});

Deno.test("finalError() stops at the 1009 of a transport that measures messages by itself, too", () => {
  const error = finalError({ code: 1009, reason: "" });
  assert.equal(
    error?.message,
    "Cannot go on: a message is larger than the server takes (1009)",
  );
});
