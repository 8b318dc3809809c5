import assert from "node:assert/strict";
import { join } from "node:path";
import { createClient } from "../client/mod.ts";
import { DEFAULT_LIMITS, type Limits } from "../protocol/limits.ts";
import { readmeBlock, replaced } from "../scripts/readme_blocks.ts";
import { until } from "./_harness.ts";
import { readmeProject } from "./_readme_project.ts";

const ROOT = join(import.meta.dirname ?? ".", "..");
const README = await Deno.readTextFile(join(ROOT, "README.md"));
const CONTRIBUTING = await Deno.readTextFile(join(ROOT, "CONTRIBUTING.md"));
const START_MS = 60_000;

/** How long a quick start may be. */
const QUICK_LINES = 15;
const QUICK_STARTS = [
  "ts server",
  "ts client",
  "js express",
  "tsx react",
  "ts deploy",
];

Deno.test("README: the quick starts are short, and so is all of it", async () => {
  for (const label of QUICK_STARTS) {
    const lines = (await readmeBlock(label)).trimEnd().split("\n").length;
    assert.ok(lines <= QUICK_LINES, `"${label}" has ${lines} lines`);
  }
  assert.ok(README.split("\n").length < 240);
});

Deno.test("README: on Deno, the server and the client type-check and do what they say", async () => {
  assert.match(
    README,
    /^deno add jsr:@headwater\/sync +# deno run -A --unstable-kv server\.ts$/m,
  );
  await using project = await readmeProject();
  const server = replaced(await readmeBlock("ts server"), "4400", "0");
  await project.write(
    "server.ts",
    `${server}\nconsole.log(\`port \${server.port}\`);\n`,
  );
  const client = await readmeBlock("ts client");
  await project.write("client.ts", client);
  await project.run("check --unstable-kv server.ts client.ts");

  await using running = project.deno("run -A --unstable-kv server.ts");
  const [, port = ""] = await running.line(/^port (\d+)/, { ms: START_MS });
  await project.write("client.ts", replaced(client, "4400", port));
  const shown = await project.run("run -A client.ts");
  assert.match(shown, /^\{ items: \[\] \}$/m);
  assert.match(shown, /^\[ "Ship it" \]$/m);
  assert.ok(await isFile(join(project.path, ".headwater/state.db")));
});

Deno.test("README: by deno serve, the module for Deno Deploy has a store that clients write", async () => {
  assert.match(README, /`deno serve -A --unstable-kv main\.ts`/);
  await using project = await readmeProject();
  await project.write("main.ts", await readmeBlock("ts deploy"));
  await project.run("check --unstable-kv main.ts");
  await using running = project.deno(
    "serve -A --unstable-kv --host=127.0.0.1 --port=0 main.ts",
  );
  await writesTodos(await urlOf(running));
  assert.ok(await isFile(join(project.path, ".headwater/state.db")));
  assert.equal((await running.kill("SIGINT")).code, 0, running.output);
});

Deno.test("README: on Deno Deploy, the same module has its state in the app's KV", async () => {
  await using project = await readmeProject();
  await project.write("main.ts", await readmeBlock("ts deploy"));
  const standIn = import.meta.resolve("./servers/deploy_kv.ts");
  await project.write(
    "deploy.ts",
    `import ${
      JSON.stringify(standIn)
    };\nexport { default } from "./main.ts";\n`,
  );
  const kv = join(project.path, "app.db");
  await using running = project.deno(
    "serve -A --no-check --unstable-kv --host=127.0.0.1 --port=0 deploy.ts",
    { DENO_DEPLOYMENT_ID: "d1", DEPLOY_KV: kv },
  );
  await writesTodos(await urlOf(running));
  assert.ok(await isFile(kv));
  assert.ok(!await isFile(join(project.path, ".headwater/state.db")));
});

Deno.test("README: a contract gives types to both ends, and a mutator shows at once", async () => {
  await using project = await readmeProject(["zod"]);
  const block = replaced(
    replaced(await readmeBlock("ts app"), "port: 4400", "port: 0"),
    '"ws://localhost:4400"',
    "`ws://localhost:${server.port}`",
  );
  await project.write(
    "app.ts",
    `${block}client.destroy();\nawait server.close();\n`,
  );
  await project.run("check --unstable-kv app.ts");
  const shown = await project.run("run -A --unstable-kv app.ts");
  assert.match(shown, /^\{ lines: \[\] \}$/m);
  assert.match(shown, /^\{ lines: \[ "Ship it" \] \}$/m);

  const wrong = replaced(block, '{ text: "Ship it" }', "{ txt: 1 }");
  await project.write("wrong.ts", wrong);
  await assert.rejects(project.run("check --unstable-kv wrong.ts"), /txt/);
});

Deno.test("README and CONTRIBUTING: their commands are tasks, their files exist", async () => {
  const { tasks, exports } = JSON.parse(
    await Deno.readTextFile(join(ROOT, "deno.json")),
  );
  for (const text of [README, CONTRIBUTING]) {
    const named = [...text.matchAll(/\btask ([\w:]+)/g)].map((match) =>
      match[1] ?? ""
    );
    assert.ok(named.includes("start"));
    for (const name of named) {
      assert.ok(name in tasks, `there is no task "${name}"`);
    }
    const files = [
      ...text.matchAll(/\]\(([^)#:]+)\)|`([\w./-]+\/[\w.-]*(?:\.ts|\/))`/g),
    ];
    assert.ok(files.length > 5);
    for (const match of files) {
      const path = match[1] ?? match[2] ?? "";
      await Deno.stat(join(ROOT, path)).catch(() =>
        assert.fail(`${path} does not exist`)
      );
    }
    for (
      const [, path = ""] of text.matchAll(/[`"]@headwater\/sync(\/\w+)?[`"]/g)
    ) {
      assert.ok(`.${path}` in exports, `"${path}" is not exported`);
    }
  }
});

Deno.test("README: the limits that it names are as in DEFAULT_LIMITS", () => {
  const section = README.slice(README.indexOf("## Limits"));
  const rows = [...section.matchAll(/^\| `(\w+)` +\| ([^|]*?) +\| /gm)].map((
    match,
  ) => [match[1], match[2]]);
  assert.ok(rows.length >= 5);
  for (const [name, value] of rows) {
    assert.ok(name && name in DEFAULT_LIMITS, `there is no limit "${name}"`);
    // It is one of its keys, by the line above.
    const key = name as keyof Limits;
    assert.equal(value, inWords(key, DEFAULT_LIMITS[key]), name);
  }
});

Deno.test("CONTRIBUTING: each package of deno.json has its reason, and the README names those that are installed", async () => {
  const { imports } = JSON.parse(
    await Deno.readTextFile(join(ROOT, "deno.json")),
  );
  const packages = Object.keys(imports).filter((name) =>
    !name.startsWith("@headwater/") && !name.endsWith("/")
  );
  const reasons = CONTRIBUTING.slice(CONTRIBUTING.indexOf("## Dependencies"));
  for (const name of packages) {
    assert.ok(reasons.includes(`\`${name}\``), `"${name}" has no reason`);
  }
  const manifest = await Deno.readTextFile(
    join(ROOT, "scripts/npm/manifest.ts"),
  );
  const [, list = ""] = /const DEPENDENCIES[^[]*\[([^\]]*)\]/.exec(manifest) ??
    [];
  const installed = [...list.matchAll(/"([^"]+)"/g)].map(([, name]) => name);
  assert.ok(installed.length > 3);
  const named = README.slice(README.indexOf("## Dependencies"));
  for (const name of installed) {
    assert.ok(named.includes(`\`${name}\``), `"${name}" is not named`);
  }
});

/** Where `deno serve` listens. */
async function urlOf(running: { readonly output: string }): Promise<string> {
  const [url] = await until(
    () => /http:\/\/127\.0\.0\.1:\d+/.exec(running.output),
    { ms: START_MS, describe: () => running.output },
  );
  return url;
}

/** A client writes to the store of the README, and sees it. */
async function writesTodos(url: string): Promise<void> {
  using client = createClient(url);
  const todos = client.subscribe<{ items: string[] }>("Todos");
  await todos.ready();
  await todos.update((draft) => void draft.items.push("Ship it"));
  assert.deepEqual(todos.getServerState(), { items: ["Ship it"] });
}

async function isFile(path: string): Promise<boolean> {
  return await Deno.stat(path).then((info) => info.isFile, () => false);
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
