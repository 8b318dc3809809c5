/** Pages that import the client, as a bundler builds them for production. */
import { gzipSync } from "node:zlib";
import { join } from "node:path";
import type { Check } from "../check.ts";
import type { Consumer } from "../lab.ts";
import { inKilobytes } from "../sizes.ts";

/** A page, and what it may weigh gzipped: at first, or with all that it loads later. */
interface Page {
  readonly script: string;
  readonly goalBytes: number;
  readonly of: "first" | "all";
}

const PAGES: Readonly<Record<string, Page>> = {
  "subscribe and call": {
    script: `
import { createClient } from "@headwater/sync/client";
const client = createClient(location.origin.replace("http", "ws"));
const counter = client.subscribe("Counter", ({ count }) => {
  document.querySelector("output").value = count;
});
await counter.ready();
await client.call("add");
`,
    goalBytes: 14_000,
    of: "first",
  },
  "all but React": {
    script: `
import * as client from "@headwater/sync/client";
import * as indexeddb from "@headwater/sync/indexeddb";
import * as react from "@headwater/sync/react";
import * as zustand from "@headwater/sync/zustand";
globalThis.all = { client, indexeddb, react, zustand };
`,
    goalBytes: 25_000,
    of: "all",
  },
};

/** React is the page's own. */
const CONFIG = `
export default {
  build: { rollupOptions: { external: ["react", "react/jsx-runtime"] } },
};
`;

/** Builds the pages, and weighs them. */
export const page: Check = {
  name: "page",
  claim: "Vite builds pages that import ./client, without a word of Node",
  async run(lab) {
    const consumer = await lab.consumer("page", ["vite"]);
    const results: string[] = [];
    for (const [name, { script, goalBytes, of }] of Object.entries(PAGES)) {
      const { first, all } = await build(consumer, name, script);
      const bytes = of === "first" ? first : all;
      results.push(
        `${name}: ${shown(bytes)} gzipped${
          bytes > goalBytes ? ", OVER" : " of"
        } the goal of ${shown(goalBytes)}`,
      );
    }
    return results.join("; ");
  },
};

async function build(
  consumer: Consumer,
  name: string,
  script: string,
): Promise<{ first: number; all: number }> {
  const folder = name.replaceAll(" ", "_");
  await consumer.write({
    [`${folder}/index.html`]:
      '<!doctype html><title>A page</title><output></output><script type="module" src="/main.js"></script>',
    [`${folder}/main.js`]: script,
    [`${folder}/vite.config.js`]: CONFIG,
  });
  const output = await consumer.run("npx", [
    "--no-install",
    "vite",
    "build",
    folder,
  ]);
  if (/externalized|warn/i.test(output)) throw new Error(output);
  const dist = join(consumer.path, folder, "dist");
  const html = await Deno.readTextFile(join(dist, "index.html"));
  const [, main] = /src="\/assets\/([^"]+)"/.exec(html) ?? [];
  const scripts = new Map<string, string>();
  for await (const { name } of Deno.readDir(join(dist, "assets"))) {
    const text = await Deno.readTextFile(join(dist, "assets", name));
    const found = /["'`](node:\w+|@deno\/kv)["'`]/.exec(text);
    if (found) throw new Error(`The page has ${found[1]} in ${name}`);
    scripts.set(name, text);
  }
  const sum = (names: Iterable<string>) =>
    [...names].reduce((sum, name) => sum + gzipped(scripts.get(name)), 0);
  const first = sum(neededBy(main ?? "", scripts));
  const all = sum(scripts.keys());
  if (first === 0) throw new Error(`There is no script in\n${html}`);
  return { first, all };
}

/** A script, and all that it imports before it runs. */
function neededBy(
  main: string,
  scripts: ReadonlyMap<string, string>,
): Set<string> {
  const needed = new Set<string>([main]);
  for (const name of needed) {
    const imports = (scripts.get(name) ?? "")
      // Not those of import(), which come later.
      .matchAll(/(?:\bfrom|\bimport)\s*["'`]\.\/([^"'`]+)["'`]/g);
    for (const [, path = ""] of imports) needed.add(path);
  }
  return needed;
}

function gzipped(text = ""): number {
  return gzipSync(text).length;
}

function shown(bytes: number): string {
  return inKilobytes(bytes).trim();
}
