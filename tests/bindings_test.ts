import assert from "node:assert/strict";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { browserTest } from "./_chromium.ts";
import { ExamplePage } from "./_example_pages.ts";
import { until } from "./_harness.ts";

const FRAMEWORKS = ["vue", "svelte", "solid", "preact"];
const FOLDER = join(import.meta.dirname ?? ".", "../examples/bindings");

/** What the four panels show. */
function counts(page: Page): Promise<string[]> {
  return Promise.all(
    FRAMEWORKS.map(async (name) =>
      (await page.locator(`#${name} output`).allInnerTexts()).join()
    ),
  );
}

async function show(page: Page, wanted: string[]): Promise<void> {
  let found: string[] = [];
  await until(async () => {
    found = await counts(page);
    return found.join() === wanted.join();
  }, { ms: 15_000, describe: () => `${wanted}, found ${found}` });
}

Deno.test({
  ...browserTest(),
  name:
    "examples/bindings: Vue, Svelte, Solid and Preact show one store, and leave it",
  async fn() {
    await using app = await ExamplePage.start({
      folder: "bindings",
      kvVariable: "BINDINGS_KV",
    });
    const left = (times: number) =>
      until(() => app.serverLines(/^Counter is left$/) === times, {
        ms: 15_000,
      });
    const page = await app.open();
    await show(page, ["0", "0", "0", "0"]);
    for (const [n, name] of FRAMEWORKS.entries()) {
      await page.click(`#${name} button`);
      await show(page, FRAMEWORKS.map(() => `${n + 1}`));
    }
    await app.shot(page, "bindings");
    const other = await app.open();
    await other.click("#solid button");
    await show(page, ["5", "5", "5", "5"]);
    await other.close();
    await left(1);

    // Each lets go: when the last one has, the store is left on the server.
    for (const name of FRAMEWORKS.slice(1)) {
      await page.uncheck(`#${name}-shown`);
    }
    await show(page, ["5", "", "", ""]);
    await page.click("#vue button");
    await show(page, ["6", "", "", ""]);
    await page.uncheck("#vue-shown");
    await show(page, ["", "", "", ""]);
    await left(2);
    // And each comes back.
    for (const name of FRAMEWORKS) await page.check(`#${name}-shown`);
    await show(page, ["6", "6", "6", "6"]);
    assert.deepEqual(app.faults, []);
  },
});

Deno.test("examples/bindings: each binding is short", async () => {
  for (const name of FRAMEWORKS) {
    const text = await Deno.readTextFile(join(FOLDER, `${name}.ts`));
    const lines = text.trim().split("\n").filter((line) =>
      line !== "" && !/^(\/\*\*|import)/.test(line)
    );
    assert.ok(lines.length <= 13, `${name} has ${lines.length} lines`);
  }
});
