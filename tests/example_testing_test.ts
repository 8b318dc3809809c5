import assert from "node:assert/strict";
import { join } from "node:path";

const ROOT = join(import.meta.dirname ?? ".", "..");
const FOLDER = join(ROOT, "examples/testing");
const FILES = ["box_office.ts", "box_office_test.ts"];

Deno.test("examples/testing passes, and needs no permission", async () => {
  const { code, output } = await runTests(FOLDER);
  assert.equal(code, 0, output);
  assert.match(output, /^ok \| 2 passed \| 0 failed/m);
});

Deno.test("examples/testing finds a seat that is sold twice, and says by which seed", async () => {
  const copy = await Deno.makeTempDir({ prefix: "headwater_example_" });
  try {
    for (const file of FILES) {
      await Deno.copyFile(join(FOLDER, file), join(copy, file));
    }
    // What is read outside of the recipe may be old by the time it runs.
    await plant(join(copy, "box_office.ts"), {
      find: "await shows.update(show, (draft) => {",
      replace: "const { seats } = await shows.get(show) ?? { seats: {} };\n$&",
    });
    await plant(join(copy, "box_office.ts"), {
      find: "= draft.seats[seat];",
      replace: "= seats[seat];",
    });
    const { code, output } = await runTests(copy);
    assert.notEqual(code, 0, output);
    assert.match(output, /^error: Error: Seed \d+: Expected values/m);
    assert.match(output, /^FAILED \| 1 passed \| 1 failed/m);
  } finally {
    await Deno.remove(copy, { recursive: true });
  }
});

Deno.test("examples/testing stays short", async () => {
  for (const file of FILES) {
    const text = await Deno.readTextFile(join(FOLDER, file));
    assert.ok(text.split("\n").length <= 90, `${file} is longer than 90 lines`);
  }
});

/** Changes the one place of a file that has `find`. */
async function plant(
  path: string,
  { find, replace }: { find: string; replace: string },
): Promise<void> {
  const text = await Deno.readTextFile(path);
  assert.equal(text.split(find).length, 2, `"${find}" is there once`);
  await Deno.writeTextFile(path, text.replace(find, replace));
}

/** Runs the tests of a folder with leak checks on, and without any permission. */
async function runTests(
  folder: string,
): Promise<{ code: number; output: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "test",
      "--no-check",
      "--no-prompt",
      "--sanitize-ops",
      "--sanitize-resources",
      `--config=${join(ROOT, "deno.json")}`,
      folder,
    ],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  return { code, output: decoder.decode(stdout) + decoder.decode(stderr) };
}
