import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { findBreaches } from "../scripts/check_layers.ts";

const CONFIG = JSON.stringify({
  imports: {
    "@pkg/sync/server": "./server/mod.ts",
    hono: "npm:hono@4",
    ws: "npm:ws@8",
  },
});

async function breachesOf(files: Record<string, string>): Promise<string[]> {
  const root = await Deno.makeTempDir();
  try {
    for (
      const [path, text] of Object.entries({ "deno.json": CONFIG, ...files })
    ) {
      await Deno.mkdir(dirname(join(root, path)), { recursive: true });
      await Deno.writeTextFile(join(root, path), text);
    }
    return (await findBreaches(root)).map(({ file, line, rule }) =>
      `${file}:${line}: ${rule}`
    );
  } finally {
    await Deno.remove(root, { recursive: true });
  }
}

Deno.test("findBreaches() finds none in this checkout", async () => {
  assert.deepEqual(
    await findBreaches(join(import.meta.dirname ?? ".", "..")),
    [],
  );
});

Deno.test("findBreaches() accepts what the layout allows", async () => {
  const breaches = await breachesOf({
    "protocol/a.ts": `export * from "./b.ts";`,
    "client/a.ts": `import "../protocol/a.ts";`,
    "server/a.ts":
      `import type { B } from "../protocol/b.ts"; import { Hono } from "hono";`,
    "server/mod.ts": `import "../adapters/a.ts";`,
    "adapters/a.ts":
      `import "../server/a.ts"; import "../client/a.ts"; import "node:fs"; Deno.exit();`,
    "studio/a.ts": `import "../client/a.ts";`,
    "mod.ts":
      `export { a } from "./client/a.ts"; export { b } from "./server/mod.ts";`,
    "tests/a.ts":
      `import "../server/a.ts"; import "../client/a.ts"; import "hono"; console.log(Deno.args);`,
    "server/log/keys.ts":
      `const PREFIX = "hw"; export const head = [PREFIX, "head"];`,
    "server/words.ts":
      `// Deno, console\nexport const text = "Deno console node:fs"; export const list = ["head", "hw"];`,
  });
  assert.deepEqual(breaches, []);
});

Deno.test("findBreaches() refuses every kind of import against the layers", async () => {
  const breaches = await breachesOf({
    "protocol/a.ts": `import "../client/a.ts";`,
    "client/a.ts": `import type { X } from "../server/a.ts";`,
    "client/b.ts": `export { x } from "../server/a.ts";`,
    "client/c.ts": `\nawait import("../server/a.ts");`,
    "client/d.ts": `export type X = import("../server/a.ts").X;`,
    "client/e.ts": `import { x } from "@pkg/sync/server";`,
    "client/f.ts": `export * from "../adapters/a.ts";`,
    "server/a.ts": `import "../client/a.ts";`,
    "server/b.ts": `import "../adapters/a.ts";`,
    "server/mod.ts": `import "../client/a.ts";`,
    "studio/a.ts": `import "../server/a.ts";`,
    "adapters/a.ts": `import "../tests/a.ts";`,
  });
  assert.deepEqual(breaches, [
    "adapters/a.ts:1: adapters must not import tests (tests/a.ts)",
    "client/a.ts:1: client must not import server (server/a.ts)",
    "client/b.ts:1: client must not import server (server/a.ts)",
    "client/c.ts:2: client must not import server (server/a.ts)",
    "client/d.ts:1: client must not import server (server/a.ts)",
    "client/e.ts:1: client must not import server (server/mod.ts)",
    "client/f.ts:1: client must not import adapters (adapters/a.ts)",
    "protocol/a.ts:1: protocol must not import client (client/a.ts)",
    "server/a.ts:1: server must not import client (client/a.ts)",
    "server/b.ts:1: server must not import adapters (adapters/a.ts)",
    "server/mod.ts:1: server must not import client (client/a.ts)",
    "studio/a.ts:1: studio must not import server (server/a.ts)",
  ]);
});

Deno.test("findBreaches() keeps the runtime out of the core", async () => {
  const breaches = await breachesOf({
    "server/a.ts": `import { x } from "node:async_hooks";`,
    "server/b.ts":
      `export const kv = (globalThis as any).Deno;\nexport type Kv = Deno.Kv;`,
    "client/a.ts": `import ws from "ws";`,
    "mod.ts": `export const here = Deno.cwd();`,
  });
  assert.deepEqual(breaches, [
    'client/a.ts:1: "ws" belongs in adapters/',
    "mod.ts:1: Deno belongs in adapters/",
    'server/a.ts:1: "node:async_hooks" belongs in adapters/',
    "server/b.ts:1: Deno belongs in adapters/",
    "server/b.ts:2: Deno belongs in adapters/",
  ]);
});

Deno.test("findBreaches() gives each package one door, under a listed name", async () => {
  const breaches = await breachesOf({
    "server/a.ts": `import { Hono } from "hono";`,
    "server/b.ts": `import type { Context } from "hono/cors";`,
    "server/c.ts": `import "left-pad";`,
    "server/d.ts": `import "npm:hono@4";`,
    "scripts/a.ts": `import "hono";`,
  });
  assert.deepEqual(breaches, [
    'server/b.ts:1: "hono" is imported in server/a.ts already; each package has one door',
    'server/c.ts:1: "left-pad" is not listed in deno.json',
    'server/d.ts:1: "npm:hono@4" must be a bare name that deno.json lists with its version',
  ]);
});

Deno.test("findBreaches() keeps the console and the keys in their places", async () => {
  const breaches = await breachesOf({
    "server/a.ts": `console.log("here");`,
    "server/log/keys.ts": `const KEY_PREFIX = "hw";`,
    "server/log/a.ts": `export const key = ["hw", "head"];`,
    "adapters/cli.ts": `console.log("Listening");`,
    "tests/a.ts": `export const key = ["hw", "head"];`,
  });
  assert.deepEqual(breaches, [
    "server/a.ts:1: the library never writes to the console; it logs or reports",
    "server/log/a.ts:1: KV keys are built in server/log/keys.ts only",
  ]);
});
