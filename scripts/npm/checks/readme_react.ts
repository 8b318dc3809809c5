/** The README's quick start with React and Vite, from Vite's own template. */
import assert from "node:assert/strict";
import { extname, join } from "node:path";
import { chromiumPath, launchChromium } from "../../../tests/_chromium.ts";
import { until } from "../../../tests/_waiting.ts";
import { readmeBlock, replaced } from "../../readme_blocks.ts";
import type { Check } from "../check.ts";
import { Consumer, type Lab } from "../lab.ts";

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
};

/** Makes the project, checks its types and builds it, then clicks through its page. */
export const readmeReact: Check = {
  name: "readme_react",
  claim: "the README's React page compiles, builds with Vite, and is live",
  async run(lab) {
    const vite = await lab.consumer("vite", ["create-vite"]);
    await vite.run("npx", [
      ...["--no-install", "create-vite", "app", "--template", "react-ts"],
      "--no-interactive",
    ]);
    const app = new Consumer(join(vite.path, "app"));
    await app.run("npm", ["install", "--prefer-offline", lab.tarball]);
    await using server = await startServer(lab);
    await app.write({
      "src/main.tsx": replaced(
        await readmeBlock("tsx react"),
        "4400",
        server.port,
      ),
    });
    await app.run("npm", ["run", "build"]);
    if (chromiumPath() === undefined) return "built; there is no Chromium";
    await clickThrough(join(app.path, "dist"));
    return "built, and clicked through in Chromium";
  },
};

/** The README's server, on Node. */
async function startServer(lab: Lab) {
  const consumer = await lab.consumer("server", ["ws", "@deno/kv"]);
  const block = replaced(await readmeBlock("ts server"), "4400", "0");
  await consumer.write({
    "react_server.ts": `${
      replaced(block, "createServer()", 'createServer({ kv: ":memory:" })')
    }console.log(\`port \${server.port}\`);\n`,
  });
  const process = consumer.start(await lab.node(22), ["react_server.ts"]);
  const [, port = ""] = await process.line(/^port (\d+)$/);
  return {
    port,
    [Symbol.asyncDispose]: () => process[Symbol.asyncDispose](),
  };
}

async function clickThrough(folder: string): Promise<void> {
  await using site = servedFrom(folder);
  const browser = await launchChromium();
  try {
    const page = await browser.newPage();
    const faults: string[] = [];
    page.on("pageerror", (error) => faults.push(String(error)));
    await page.goto(site.url);
    const button = page.getByRole("button");
    await until(async () => await button.innerText() === "Add");
    await button.click();
    await until(async () => await button.innerText() === "Ship it");
    await button.click();
    await until(async () => await button.innerText() === "Ship it, Ship it");
    assert.deepEqual(faults, []);
  } finally {
    await browser.close();
  }
}

/** Serves the files of a folder. */
function servedFrom(folder: string) {
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    async (request) => {
      const { pathname } = new URL(request.url);
      const path = pathname === "/" ? "/index.html" : pathname;
      const file = await Deno.readFile(join(folder, path)).catch(() => null);
      return new Response(file, {
        status: file ? 200 : 404,
        headers: { "content-type": TYPES[extname(path)] ?? "text/plain" },
      });
    },
  );
  return {
    url: `http://127.0.0.1:${server.addr.port}`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}
