/** What the test command makes of a report of `deno test`, and of tests that fail once. */
import assert from "node:assert/strict";
import { failedTests, ignoredTests } from "../scripts/test_report.ts";

/** Runs the test command on a file of this text, in a folder of its own. */
async function runTests(text: string): Promise<{ code: number; last: string }> {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/some_test.ts`, text);
    const { code, stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "scripts/test.ts", `${folder}/some_test.ts`],
      stderr: "null",
    }).output();
    const lines = new TextDecoder().decode(stdout).trim().split("\n");
    return { code, last: lines.at(-1)! }; // split() gives one at least
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** A test that fails as often as this, counted by a file beside it. */
function failsTimes(times: number): string {
  return `
    const counter = Deno.env.get("TMPDIR") + "/count"; // where it may write
    Deno.test("sometimes", async () => {
      await Deno.writeTextFile(counter, "x", { append: true });
      const count = (await Deno.readTextFile(counter)).length;
      if (count <= ${times}) throw new Error("not yet");
    });
    Deno.test("always", () => {});`;
}

Deno.test("failedTests() names tests and their files, not their steps", () => {
  const report = `
    <testcase name="a &lt;x&gt; &quot;y&quot;" classname="./a_test.ts" time="0" line="1" col="6">
        <failure message="no">no</failure>
    </testcase>
    <testcase name="b" classname="./a_test.ts" time="0" line="2" col="6">
    </testcase>
    <testcase name="c" classname="./a_test.ts" time="0" line="3" col="6">
        <failure message="1 test step failed">1 test step failed.</failure>
    </testcase>
    <testcase name="c &gt; inner" classname="./a_test.ts" time="0" line="3" col="45">
        <failure message="inner">inner</failure>
    </testcase>
    <testcase name="file:///b.ts#4-7.ts" classname="./b.ts#4-7.ts" time="0" line="2" col="6">
        <failure message="doc">doc</failure>
    </testcase>
    <testcase name="d" classname="./d_test.ts" time="0" line="2" col="6">
        <skipped/>
    </testcase>`;
  assert.deepEqual(failedTests(report), [
    { name: 'a <x> "y"', file: "./a_test.ts" },
    { name: "c", file: "./a_test.ts" },
    { name: "file:///b.ts#4-7.ts", file: "./b.ts" },
  ]);
  assert.deepEqual(ignoredTests(report), ["d"]);
});

Deno.test("the test command runs a file again whose test failed, and says that it is flaky", async () => {
  assert.deepEqual(await runTests(failsTimes(0)), {
    code: 0,
    last: "2 passed, 0 failed",
  });
  assert.deepEqual(await runTests(failsTimes(1)), {
    code: 0,
    last: "2 passed, 0 failed, 1 flaky",
  });
});

Deno.test("the test command runs a file again that an uncaught error has ended", async () => {
  const text = `
    const counter = Deno.env.get("TMPDIR") + "/count"; // where it may write
    Deno.test("always", async () => {
      await Deno.writeTextFile(counter, "x", { append: true });
      const isFirst = (await Deno.readTextFile(counter)).length === 1;
      if (isFirst) setTimeout(() => { throw new Error("late"); });
      await new Promise((resolve) => setTimeout(resolve, 50));
    });`;
  const { code, last } = await runTests(text);
  assert.equal(code, 0);
  assert.match(last, /, 0 failed, \d flaky$/);
});

Deno.test("the test command fails where a test fails twice, or cannot be loaded", async () => {
  assert.deepEqual(await runTests(failsTimes(2)), {
    code: 1,
    last: "1 passed, 1 failed",
  });
  const { code } = await runTests("const wrong: number = 'text';");
  assert.equal(code, 1);
});
