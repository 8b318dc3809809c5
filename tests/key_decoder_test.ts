import assert from "node:assert/strict";
import fc from "fast-check";
import { keyDecoder } from "../protocol/key_decoder.ts";

function decode(key: string): string {
  const bytes = new TextEncoder().encode(`xx${key}xx`);
  return keyDecoder.decode(bytes, 2, bytes.length - 4);
}

Deno.test("keyDecoder gives back any key, whatever it remembers", () => {
  const key = fc.oneof(
    // Few letters, so that many of them meet in one place of its memory.
    fc.stringMatching(/^[ab]{0,40}$/),
    fc.string({ unit: "binary", maxLength: 40 }),
    fc.constantFrom("\ufeff", "\ufeffa", "é", "ÿ", "\0", "\0\0"),
  );
  fc.assert(
    fc.property(fc.array(key, { minLength: 1, maxLength: 40 }), (keys) => {
      assert.deepStrictEqual(keys.map(decode), keys);
    }),
    { numRuns: 1_000 },
  );
});

Deno.test("keyDecoder tells a key from a longer one that begins with it", () => {
  for (let length = 1; length <= 32; length++) {
    for (let more = 1; length + more <= 32; more++) {
      for (const first of ["a", "b", "q", "~"]) {
        const short = first + "m".repeat(length - 1);
        for (let code = 33; code < 127; code++) {
          const long = short + "m".repeat(more - 1) + String.fromCharCode(code);
          assert.equal(decode(long), long);
          assert.equal(decode(short), short);
        }
      }
    }
  }
});
