import assert from "node:assert/strict";
import { join } from "node:path";
import { DEFAULT_LIMITS, type Limits } from "../protocol/limits.ts";
import { freshProcess, tempDir, within } from "./_harness.ts";

const ROOT = join(import.meta.dirname ?? ".", "..");
const README = await Deno.readTextFile(join(ROOT, "README.md"));

Deno.test("README: the server and the client are short, type-check and do what they say", async () => {
  await using folder = await tempDir();
  const serverBlock = block("ts server");
  const clientBlock = block("ts client");
  for (const text of [serverBlock, clientBlock]) {
    assert.ok(text.trim().split("\n").length <= 10, text);
  }

  const server = join(folder.path, "server.ts");
  await Deno.writeTextFile(
    server,
    replaced(serverBlock, "4400", "0") +
      "\nconsole.log(`port ${server.port}`);\n",
  );
  await Deno.writeTextFile(join(folder.path, "client.ts"), clientBlock);
  const check = await new Deno.Command(Deno.execPath(), {
    args: [
      "check",
      `--config=${ROOT}/deno.json`,
      server,
      join(folder.path, "client.ts"),
    ],
    stdout: "null",
  }).output();
  assert.ok(check.success, new TextDecoder().decode(check.stderr));

  const inFolder = replaced(
    await Deno.readTextFile(server),
    ".headwater/todo.db",
    join(folder.path, "todo.db"),
  );
  await Deno.writeTextFile(server, inFolder);
  await using running = freshProcess([`--config=${ROOT}/deno.json`, server]);
  const [, port = ""] = await running.line(/^port (\d+)/);
  const client = join(folder.path, "client.ts");
  await Deno.writeTextFile(client, replaced(clientBlock, "4400", port));
  await using shown = freshProcess([`--config=${ROOT}/deno.json`, client]);
  const { code } = await within(shown.exited, {
    ms: 20_000,
    describe: () => shown.output,
  });
  assert.equal(code, 0, shown.output);
  assert.match(shown.output, /^\{ items: \[\] \}$/m);
  assert.match(shown.output, /^\[ "Ship it" \]$/m);
});

Deno.test("README: its commands are tasks, its files exist, and it stays short", async () => {
  const { tasks, exports } = JSON.parse(
    await Deno.readTextFile(join(ROOT, "deno.json")),
  );
  const named = [...README.matchAll(/\btask ([\w:]+)/g)].map((match) =>
    match[1] ?? ""
  );
  assert.ok(named.includes("start") && named.includes("test"));
  for (const name of named) {
    assert.ok(name in tasks, `there is no task "${name}"`);
  }

  const files = [
    ...README.matchAll(/\]\(([^)#:]+)\)|`([\w./-]+\/[\w.-]*(?:\.ts|\/))`/g),
  ];
  assert.ok(files.length > 5);
  for (const match of files) {
    const path = match[1] ?? match[2] ?? "";
    if (path !== ".headwater/") {
      await Deno.stat(join(ROOT, path)).catch(() =>
        assert.fail(`${path} does not exist`)
      );
    }
  }
  for (
    const [, path = ""] of README.matchAll(/`@headwater\/sync(\/\w+)?`/g)
  ) {
    assert.ok(`.${path}` in exports, `"${path}" is not exported`);
  }
  assert.ok(README.split("\n").length < 270);
});

Deno.test("README: a contract and writes of clients do what they say", async () => {
  await using folder = await tempDir();
  const path = join(folder.path, "app.ts");
  await Deno.writeTextFile(path, block("ts app"));
  await using shown = freshProcess([`--config=${ROOT}/deno.json`, path]);
  const { code } = await within(shown.exited, {
    ms: 20_000,
    describe: () => shown.output,
  });
  assert.equal(code, 0, shown.output);
  assert.match(shown.output, /^\[ "Ship it" \]$/m);
  const check = await new Deno.Command(Deno.execPath(), {
    args: ["check", `--config=${ROOT}/deno.json`, path],
    stdout: "null",
  }).output();
  assert.ok(check.success, new TextDecoder().decode(check.stderr));
});

Deno.test("README: the limits that it names are as in DEFAULT_LIMITS", () => {
  const section = README.slice(README.indexOf("## Limits"));
  const rows = [...section.matchAll(/^\| `(\w+)` +\| ([^|]*?) +\| /gm)].map((
    match,
  ) => [match[1], match[2]]);
  assert.ok(rows.length >= 10);
  for (const [name, value] of rows) {
    assert.ok(name && name in DEFAULT_LIMITS, `there is no limit "${name}"`);
    // It is one of its keys, by the line above.
    const key = name as keyof Limits;
    assert.equal(value, inWords(key, DEFAULT_LIMITS[key]), name);
  }
});

Deno.test("README: the dependencies are those of deno.json, all of them", async () => {
  const { imports } = JSON.parse(
    await Deno.readTextFile(join(ROOT, "deno.json")),
  );
  const packages = Object.keys(imports).filter((name) =>
    !name.startsWith("@headwater/") && !name.endsWith("/")
  );
  const section = README.slice(
    README.indexOf("## Dependencies"),
    README.indexOf("## Commands"),
  );
  for (const name of packages) {
    assert.ok(section.includes(`\`${name}\``), `"${name}" is not explained`);
  }
});

/** The one block that is fenced with `info`. */
function block(info: string): string {
  const blocks = [...README.matchAll(/^```(.+)\n([\s\S]*?)^```$/gm)].filter((
    match,
  ) => match[1] === info);
  assert.equal(blocks.length, 1, `there is not one block "${info}"`);
  return blocks[0]?.[2] ?? "";
}

function replaced(text: string, from: string, to: string): string {
  assert.ok(text.includes(from), `"${from}" is not in the block`);
  return text.replace(from, to);
}

function inWords(name: keyof Limits, value: number): string {
  if (name.endsWith("Bytes")) {
    return value >= 1024 ** 2
      ? `${value / 1024 ** 2} MiB`
      : `${value / 1024} KiB`;
  }
  if (!name.endsWith("Ms")) return value.toLocaleString("en");
  if (value >= 3_600_000) return `${value / 3_600_000} h`;
  return value >= 1000 ? `${value / 1000} s` : `${value} ms`;
}
