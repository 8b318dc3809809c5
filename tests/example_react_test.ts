import assert from "node:assert/strict";
import type { Page } from "playwright-core";
import { browserTest } from "./_chromium.ts";
import { ExamplePage } from "./_example_pages.ts";
import { until } from "./_harness.ts";

const TODOS = { folder: "react", kvVariable: "TODOS_KV" };
const START = [
  "- Open a second tab beside this one",
  "- Stop the server, and go on",
  "x Read examples/react",
];

Deno.test({
  ...browserTest(),
  name: "examples/react: two tabs see what is added, done and removed",
  async fn() {
    await using app = await ExamplePage.start(TODOS);
    const a = await app.open();
    const b = await app.open("", { colorScheme: "dark" });
    for (const tab of [a, b]) await shows(tab, START);
    await a.getByLabel("What is to be done?").fill("Ship it");
    await a.keyboard.press("Enter");
    for (const tab of [a, b]) await shows(tab, [...START, "- Ship it"]);
    await b.getByLabel("Ship it").check();
    await shows(a, [...START, "x Ship it"]);
    await saysOpen(a, "2 are open");
    await app.shot(a, "react");
    await app.shot(b, "react_dark");

    await a.getByRole("button", { name: "Done", exact: true }).click();
    await shows(a, ["x Read examples/react", "x Ship it"]);
    await b.getByRole("button", { name: "Remove what is done" }).click();
    await shows(b, START.slice(0, 2));
    await shows(a, []);
    await until(async () => await a.getByText("Nothing here").isVisible());
    await b.getByLabel("Open a second tab").check();
    await saysOpen(b, "1 is open");
    assert.deepEqual(app.faults, []);
  },
});

Deno.test({
  ...browserTest(),
  name: "examples/react: what is done while the server is away arrives later",
  async fn() {
    await using app = await ExamplePage.start(TODOS);
    const a = await app.open();
    const b = await app.open();
    for (const tab of [a, b]) await shows(tab, START);
    await app.stopServer();
    await a.getByText("Offline: what you do is kept").waitFor();
    await a.getByLabel("What is to be done?").fill("Go offline");
    await a.keyboard.press("Enter");
    await a.getByLabel("Stop the server").check();
    const done = [
      "- Open a second tab beside this one",
      "x Stop the server, and go on",
      "x Read examples/react",
      "- Go offline",
    ];
    await shows(a, done);
    await app.shot(a, "react_offline");
    await shows(b, START);
    await app.startServer();
    for (const tab of [a, b]) await shows(tab, done);
    await b.getByText("Live", { exact: true }).waitFor();
    assert.deepEqual(app.faults, []);
  },
});

/** Waits until a tab shows these items, in order: what is done begins with an x. */
async function shows(page: Page, wanted: string[]): Promise<void> {
  let found: string[] = [];
  await until(async () => {
    const items = await page.locator(".todos li").all();
    found = await Promise.all(items.map(async (item) => {
      const isDone = await item.getByRole("checkbox").isChecked();
      return `${isDone ? "x" : "-"} ${await item.innerText()}`;
    })).catch(() => ["the list has changed meanwhile"]);
    return found.join() === wanted.join();
  }, { ms: 20_000, describe: () => `found ${found}, wanted ${wanted}` });
}

async function saysOpen(page: Page, text: string): Promise<void> {
  await until(async () => await page.locator(".count").innerText() === text);
}
