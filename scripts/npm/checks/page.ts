/** A page that imports the client alone, as a bundler builds it for production. */
import { gzipSync } from "node:zlib";
import { join } from "node:path";
import type { Check } from "../check.ts";
import { inKilobytes } from "../sizes.ts";

/** What the client may weigh, gzipped, for a page that subscribes and calls. */
const GOAL_BYTES = 14_000;

const HTML = `<!doctype html>
<title>A page</title>
<output></output>
<script type="module" src="/main.js"></script>
`;
const MAIN = `import { createClient } from "@headwater/sync/client";
const client = createClient(location.origin.replace("http", "ws"));
const counter = client.subscribe("Counter", ({ count }) => {
  document.querySelector("output").value = count;
});
await counter.ready();
await client.call("add");
`;

/** Builds the page, and weighs it. */
export const page: Check = {
  name: "page",
  claim: "Vite builds a page that imports ./client, without a word of Node",
  async run(lab) {
    const consumer = await lab.consumer("page", ["vite"]);
    await consumer.write({ "index.html": HTML, "main.js": MAIN });
    const output = await consumer.run("npx", ["--no-install", "vite", "build"]);
    if (/externalized|warn/i.test(output)) throw new Error(output);
    const assets = join(consumer.path, "dist/assets");
    const sizes = new Map<string, number>();
    for await (const { name } of Deno.readDir(assets)) {
      const text = await Deno.readTextFile(join(assets, name));
      const found = /["'`](node:\w+|@deno\/kv)["'`]/.exec(text);
      if (found) throw new Error(`The page has ${found[1]} in ${name}`);
      sizes.set(name, gzipSync(text).length);
    }
    const html = await Deno.readTextFile(
      join(consumer.path, "dist/index.html"),
    );
    const [, first = ""] = /src="\/assets\/([^"]+)"/.exec(html) ?? [];
    const bytes = sizes.get(first) ?? 0;
    const others = [...sizes].filter(([name]) => name !== first)
      .map(([, size]) => inKilobytes(size).trim());
    const loadedApart = others.length === 0
      ? ""
      : `, and ${others.join(", ")} where they are needed`;
    return `${inKilobytes(bytes).trim()} gzipped${loadedApart}; the goal is ${
      inKilobytes(GOAL_BYTES).trim()
    }`;
  },
};
