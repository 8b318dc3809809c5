import assert from "node:assert/strict";
import { join } from "node:path";
import { freshProcess, tempDir, until, within } from "./_harness.ts";

const ROOT = join(import.meta.dirname ?? ".", "..");
const CLI = join(ROOT, "server/mod.ts");

/** Runs it with arguments, where it could start a server if it wanted to. */
async function run(...args: string[]) {
  await using folder = await tempDir();
  const kv = join(folder.path, "state.db");
  await using process = freshProcess([CLI, ...args], {
    PORT: "0",
    HEADWATER_KV: kv,
  });
  const { code } = await within(process.exited, {
    ms: 20_000,
    describe: () => `an end of\n${process.output}`,
  });
  await until(() => process.output.trim() !== "");
  assert.deepEqual([...Deno.readDirSync(folder.path)], []);
  return { code, output: process.output.trim() };
}

Deno.test("runCli() --help lists every variable that the task may read, with its default", async () => {
  const { code, output } = await run("--help");
  assert.equal(code, 0);
  assert.deepEqual(await run("-h"), { code, output });
  const lines = output.split("\n");
  for (
    const [name, fallback] of [
      ["PORT", "4400"],
      ["HOST", "localhost"],
      ["HEADWATER_KV", ".headwater/state.db"],
      ["HEADWATER_TRANSPORT", "native"],
      ["LOG_LEVEL", "info"],
      ["DENO_KV_ACCESS_TOKEN", "none"],
    ] as const
  ) {
    assert.ok(
      lines.some((line) =>
        line.startsWith(`  ${name} `) && line.endsWith(`  ${fallback}`)
      ),
      `${name} in\n${output}`,
    );
  }
  assert.ok(lines.every((line) => line.length <= 80), output);
});

Deno.test("runCli() --version is that of deno.json", async () => {
  const { version } = JSON.parse(
    await Deno.readTextFile(join(ROOT, "deno.json")),
  );
  assert.deepEqual(await run("--version"), { code: 0, output: version });
  assert.deepEqual(await run("-V"), { code: 0, output: version });
});

Deno.test("runCli() refuses an argument that there is not, with exit code 2", async () => {
  for (const args of [["--prot"], ["4400"], ["--help", "--prot"]]) {
    assert.deepEqual(await run(...args), {
      code: 2,
      output: `Headwater stops: there is no argument "${
        args.at(-1)
      }"; it is set by variables, which --help lists`,
    });
  }
});
