/** The one-file example, by `deno serve` on every core and on what stands in for Deno Deploy. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { createClient } from "../client/mod.ts";
import { importMap } from "../examples/browser_packages.ts";
import { browserTest, launchChromium } from "./_chromium.ts";
import { DenoServe } from "./_deno_serve.ts";
import { tempDir, tempKvPath, until } from "./_harness.ts";

const EXAMPLE = import.meta.resolve("../examples/deploy/main.ts");
const STAND_IN = import.meta.resolve("./servers/deploy_kv.ts");
const { version } = JSON.parse(
  await Deno.readTextFile(new URL("../deno.json", import.meta.url)),
);
/** Where a page that nobody builds takes the client from. */
const CLIENT_URL = `https://esm.sh/jsr/@headwater/sync@${version}/client`;
const SHOTS = Deno.env.get("HEADWATER_SHOTS");

Deno.test("examples/deploy: deno serve --parallel keeps the votes in its folder, and refuses one for no dish", async () => {
  await using folder = await tempDir();
  await using server = await DenoServe.start({
    script: fileURLToPath(EXAMPLE),
    cwd: folder.path,
    isolates: 3,
  });
  using client = createClient(server.url);
  const poll = client.subscribe<{ votes: number[] }>("Poll");
  await poll.ready();
  await client.call("vote", { dish: 1 });
  assert.deepEqual(poll.getState(), { votes: [0, 1, 0] });
  for (const dish of [3, -1, 0.5, "1", "length", null]) {
    await assert.rejects(client.call("vote", { dish }), /No such dish/);
  }
  assert.deepEqual(poll.getState(), { votes: [0, 1, 0] });
  assert.ok((await Deno.stat(join(folder.path, ".headwater/state.db"))).isFile);
  assert.equal((await server.end("SIGINT")).code, 0, server.output);
});

Deno.test({
  ...browserTest(),
  name:
    "examples/deploy: on Deno Deploy two people see each other's votes, after a restart too",
  async fn() {
    await using folder = await tempDir();
    await using kv = await tempKvPath();
    const script = join(folder.path, "main.ts");
    await Deno.writeTextFile(
      script,
      `import "${STAND_IN}";\nexport { default } from "${EXAMPLE}";\n`,
    );
    await using server = await DenoServe.start({
      script,
      env: { DENO_DEPLOYMENT_ID: "d1", DEPLOY_KV: kv.path },
    });
    const browser = await launchChromium();
    try {
      const client = await bundledClient();
      const faults: string[] = [];
      const open = (options: BrowserContextOptions) =>
        openPage(browser, { url: server.url, client, faults, options });
      const ada = await open({ colorScheme: "light" });
      const bob = await open({ colorScheme: "dark" });
      for (const dish of ["Pizza", "Pizza", "Salad"]) await vote(ada, dish);
      await vote(bob, "Salad");
      for (const page of [ada, bob]) {
        await until(async () => `${await votesOf(page)}` === "2,0,2");
      }
      await vote(bob, "Salad");
      await until(async () => `${await votesOf(ada)}` === "2,0,3");
      await shot(ada, "deploy_light");
      await shot(bob, "deploy_dark");

      await server.end("SIGINT");
      await until(async () => (await statusOf(ada)).includes("again"));
      await vote(ada, "Noodles"); // shown, and sent once there is a server
      await server.restart();
      for (const page of [ada, bob]) {
        await until(async () => `${await votesOf(page)}` === "2,1,3", {
          ms: 20_000,
        });
        await until(async () => (await statusOf(page)).startsWith("Live"));
      }
      assert.deepEqual(faults, []);
    } finally {
      await browser.close();
    }
  },
});

/** What the address of the client gives once this version is published there. */
async function bundledClient(): Promise<string> {
  try {
    const { outputFiles } = await esbuild.build({
      entryPoints: [fileURLToPath(import.meta.resolve("../client/mod.ts"))],
      bundle: true,
      write: false,
      format: "esm",
      plugins: [importMap],
    });
    return outputFiles[0]?.text ?? "";
  } finally {
    await esbuild.stop();
  }
}

async function openPage(
  browser: Browser,
  { url, client, faults, options }: {
    url: string;
    client: string;
    faults: string[];
    options: BrowserContextOptions;
  },
): Promise<Page> {
  const viewport = { width: 720, height: 560 };
  const page = await browser.newPage({ viewport, ...options });
  page.setDefaultTimeout(10_000);
  page.on("pageerror", (error) => faults.push(String(error)));
  await page.route(
    CLIENT_URL,
    (route) => route.fulfill({ contentType: "text/javascript", body: client }),
  );
  await page.goto(url);
  await until(async () => (await statusOf(page)).startsWith("Live"));
  return page;
}

function vote(page: Page, dish: string): Promise<void> {
  return page.getByRole("button", { name: dish }).click();
}

async function votesOf(page: Page): Promise<number[]> {
  return (await page.locator("button b").allInnerTexts()).map(Number);
}

function statusOf(page: Page): Promise<string> {
  return page.getByRole("status").innerText();
}

async function shot(page: Page, name: string): Promise<void> {
  if (SHOTS) await page.screenshot({ path: join(SHOTS, `${name}.png`) });
}
