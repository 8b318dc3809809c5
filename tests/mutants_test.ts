/** Each planted mistake still has its place in the product. */
import assert from "node:assert/strict";
import { MUTANTS } from "../scripts/mutants/mutants.ts";
import { findingOf, mutate } from "../scripts/mutants/scratch.ts";

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

Deno.test("findingOf() tells a failed check from a process that died, and from one that never ran", () => {
  const ended = { code: 0, isLate: false, stdout: "", stderr: "" };
  const running = '{"after":0}\nsome product says this\n{"after":10}\n';
  const kindOf = (given: Partial<typeof ended>) =>
    findingOf({ ...ended, ...given });
  const failed = `${running}{"after":12,"failure":"Lost"}\nmore\n`;
  assert.deepEqual(kindOf({ code: 1, stdout: failed }), {
    kind: "check",
    after: 12,
    failure: "Lost",
  });
  const died = { code: 1, stdout: running, stderr: "\nerror: Uncaught\n at" };
  assert.deepEqual(kindOf(died), {
    kind: "death",
    after: 10,
    failure: "error: Uncaught",
  });
  assert.equal(kindOf({ code: 1, stderr: "no module" }).kind, "tool");
  assert.equal(kindOf({ code: 137, isLate: true }).kind, "late");
  assert.equal(kindOf({ stdout: running }).kind, "survived");
});
