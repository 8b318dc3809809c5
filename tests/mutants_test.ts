/** Each planted mistake still has its place in the product. */
import assert from "node:assert/strict";
import { MUTANTS } from "../scripts/mutants/mutants.ts";
import { mutate } from "../scripts/mutants/scratch.ts";

for (const { name, edits } of MUTANTS) {
  Deno.test(`mutate() plants "${name}"`, async () => {
    for (const edit of edits) {
      const source = await Deno.readTextFile(edit.file);
      assert.notEqual(mutate(source, edit), source);
    }
  });
}

Deno.test("mutate() refuses an edit whose place is missing, or there twice", () => {
  const edit = { file: "x.ts", find: "a", replace: "b" };
  assert.throws(() => mutate("c", edit), /0 times/);
  assert.throws(() => mutate("aa", edit), /2 times/);
});
