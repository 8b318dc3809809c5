import assert from "node:assert/strict";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { browserTest, launchChromium } from "./_chromium.ts";
import {
  type FreshProcess,
  freshProcess,
  startProxy,
  tempDir,
  tempKvPath,
  until,
} from "./_harness.ts";

const CLI = join(import.meta.dirname ?? ".", "../server/mod.ts");
/** Where screenshots are kept for a person to look at; else they go with the test's folder. */
const SHOTS = Deno.env.get("HEADWATER_SHOTS");

Deno.test({
  ...browserTest(),
  name:
    "The start page keeps two tabs in step, through a kill -9 of the server, by patches and exactly once",
  async fn() {
    await using kv = await tempKvPath();
    await using folder = await tempDir();
    const shots = SHOTS ?? folder.path;
    await using browser = disposable(await launchChromium());
    let port: number;
    let version: number;
    let a: Page;
    let b: Page;
    {
      await using server = startCli(kv.path, 0);
      port = await portOf(server);
      a = await openTab(browser.browser, port, "light");
      b = await openTab(browser.browser, port, "dark");
      version = await numberOf(a, "counter-version");

      for (let n = 0; n < 3; n++) await a.getByTestId("counter-plus").click();
      await b.getByTestId("counter-minus").click();
      await addTodo(a, "Ship it");
      await addTodo(b, "Write the notes");
      await a.getByRole("checkbox", { name: "Ship it" }).click();
      for (const tab of [a, b]) {
        await seen(tab, "count", "2");
        await seen(tab, "counter-version", String(version + 4));
        await until(async () =>
          (await todosOf(tab)).join() === "[x] Ship it,[ ] Write the notes"
        );
        await seen(tab, "counter-unacked", "0");
      }
      await shot(a, shots, "connected_light");
      await shot(b, shots, "connected_dark");
      await server.kill("SIGKILL");
    }
    const before = { a: await countsOf(a), b: await countsOf(b) };
    for (const tab of [a, b]) await seen(tab, "status-text", "Reconnecting");

    for (let n = 0; n < 5; n++) await a.getByTestId("counter-plus").click();
    for (let n = 0; n < 2; n++) await b.getByTestId("counter-plus").click();
    await addTodo(b, "Clicked while away");
    await b.getByRole("button", { name: "Remove Ship it" }).click();
    await seen(a, "counter-unacked", "5");
    await seen(b, "counter-unacked", "2");
    await seen(b, "todos-unacked", "2");
    await seen(a, "count", "2");
    await shot(a, shots, "away_light");
    await shot(b, shots, "away_dark");
    await b.setViewportSize({ width: 360, height: 740 });
    await shot(b, shots, "away_narrow");

    await using server = startCli(kv.path, port);
    await portOf(server);
    for (const tab of [a, b]) {
      await seen(tab, "status-text", "Connected");
      await seen(tab, "count", "9");
      await seen(tab, "counter-unacked", "0");
      await seen(tab, "todos-unacked", "0");
      await seen(tab, "counter-version", String(version + 11));
      await until(async () =>
        (await todosOf(tab)).join() ===
          "[ ] Write the notes,[ ] Clicked while away"
      );
    }
    for (const [tab, old] of [[a, before.a], [b, before.b]] as const) {
      const counts = await countsOf(tab);
      assert.deepEqual(
        counts.snapshots,
        old.snapshots,
        "a reconnect brought a snapshot",
      );
      assert.ok(counts.patches > old.patches, "a reconnect brought no patches");
    }
    await shot(b, shots, "back_narrow");

    await b.getByTestId("counter-plus").click();
    await seen(a, "count", "10");
  },
});

Deno.test({
  ...browserTest(),
  name:
    "The start page resumes a tab that slept through changes by exactly what it missed",
  async fn() {
    await using kv = await tempKvPath();
    await using server = startCli(kv.path, 0);
    const port = await portOf(server);
    await using browser = disposable(await launchChromium());
    await using proxy = await startProxy(port);
    const a = await openTab(browser.browser, port, "light");
    const b = await openTab(browser.browser, proxy.port, "light");
    await a.getByTestId("counter-plus").click();
    await seen(b, "count", "1");
    const before = await countsOf(b);

    proxy.refuse(true);
    proxy.cut();
    await seen(b, "status-text", "Reconnecting");
    await b.getByTestId("counter-plus").click();
    for (let n = 0; n < 4; n++) await a.getByTestId("counter-plus").click();
    await seen(a, "count", "5");
    await seen(b, "count", "1");

    proxy.refuse(false);
    await seen(b, "count", "6");
    await seen(a, "count", "6");
    const after = await countsOf(b);
    assert.equal(after.snapshots, before.snapshots);
    assert.ok(
      after.missed - before.missed >= 4,
      "it did not catch up by what it missed",
    );
  },
});

Deno.test({
  ...browserTest(),
  name: "The start page shows why a write failed, and works by keyboard",
  async fn() {
    await using kv = await tempKvPath();
    await using server = startCli(kv.path, 0);
    await using browser = disposable(await launchChromium());
    const port = await portOf(server);
    const a = await openTab(browser.browser, port, "light");
    await until(async () =>
      /Nothing to do yet/.test(await a.getByTestId("todo-empty").innerText())
    );

    await a.getByLabel("New todo").focus();
    await a.keyboard.type("By keyboard");
    await a.keyboard.press("Enter");
    await until(async () => (await todosOf(a)).join() === "[ ] By keyboard");
    await a.keyboard.press("Tab"); // Add
    await a.keyboard.press("Tab"); // the checkbox
    await a.keyboard.press("Space");
    await until(async () => (await todosOf(a)).join() === "[x] By keyboard");
    await a.keyboard.press("Tab"); // Remove
    await a.keyboard.press("Enter");
    await until(async () => (await todosOf(a)).length === 0);

    await a.getByLabel("New todo").evaluate((input) =>
      input.removeAttribute("maxlength")
    );
    await addTodo(a, "x".repeat(201));
    await until(async () =>
      /"text" must be a text of 1 to 200/.test(
        await a.getByTestId("notice").innerText(),
      )
    );
    await addTodo(a, "Short");
    await until(async () => (await a.getByTestId("notice").innerText()) === "");
  },
});

function startCli(kvPath: string, port: number): FreshProcess {
  return freshProcess([CLI], {
    PORT: String(port),
    HEADWATER_KV: kvPath,
    LOG_LEVEL: "warning",
  });
}

async function portOf(server: FreshProcess): Promise<number> {
  return Number((await server.line(/http:\/\/localhost:(\d+)/))[1]);
}

async function openTab(
  browser: Browser,
  port: number,
  colorScheme: "light" | "dark",
): Promise<Page> {
  const page = await browser.newPage({
    colorScheme,
    viewport: { width: 1100, height: 760 },
  });
  await page.goto(`http://localhost:${port}/`);
  await seen(page, "status-text", "Connected");
  await page.locator("#counter[data-ready=true]").waitFor();
  return page;
}

async function seen(page: Page, id: string, text: string): Promise<void> {
  const element = page.getByTestId(id);
  let found = "";
  await until(
    async () => (found = (await element.innerText()).trim()) === text,
    {
      ms: 20_000,
      describe: () => `${id} is "${text}", found "${found}"`,
    },
  );
}

async function addTodo(page: Page, text: string): Promise<void> {
  await page.getByLabel("New todo").fill(text);
  await page.getByTestId("todo-add").click();
}

async function todosOf(page: Page): Promise<string[]> {
  return await page.getByTestId("todo-list").locator("li").evaluateAll((
    items,
  ) =>
    items.map((item) =>
      `[${
        item.querySelector("input")?.checked ? "x" : " "
      }] ${item.textContent}`
    )
  );
}

async function countsOf(
  page: Page,
): Promise<{ snapshots: number; patches: number; missed: number }> {
  return {
    snapshots: await numberOf(page, "counter-snapshots") +
      await numberOf(page, "todos-snapshots"),
    patches: await numberOf(page, "counter-patches") +
      await numberOf(page, "todos-patches"),
    missed: await numberOf(page, "counter-missed") +
      await numberOf(page, "todos-missed"),
  };
}

async function numberOf(page: Page, id: string): Promise<number> {
  return Number(await page.getByTestId(id).innerText());
}

async function shot(page: Page, folder: string, name: string): Promise<void> {
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
}

function disposable(
  browser: Browser,
): AsyncDisposable & { readonly browser: Browser } {
  return { browser, [Symbol.asyncDispose]: () => browser.close() };
}
