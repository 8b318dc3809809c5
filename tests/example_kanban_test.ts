import assert from "node:assert/strict";
import type { Page } from "playwright-core";
import { browserTest } from "./_chromium.ts";
import { ExamplePage } from "./_example_pages.ts";
import { until } from "./_harness.ts";

const KANBAN = { folder: "kanban", kvVariable: "KANBAN_KV" };

Deno.test({
  ...browserTest(),
  name:
    "examples/kanban: two tabs see what is added, moved, edited and removed",
  async fn() {
    await using app = await ExamplePage.start(KANBAN);
    const a = await app.open();
    const b = await app.open("", { colorScheme: "dark" });
    const start = {
      todo: ["drag", "keys", "offline"],
      doing: ["tabs"],
      done: [],
    };
    for (const tab of [a, b]) await shows(tab, start);

    await dragTo(a, "drag", "done");
    for (const tab of [a, b]) {
      await shows(tab, {
        todo: ["keys", "offline"],
        doing: ["tabs"],
        done: ["drag"],
      });
    }

    await card(b, "keys").focus();
    await b.keyboard.press("Shift+ArrowRight");
    await b.keyboard.press("Shift+ArrowDown");
    const spoken = await b.locator("#spoken").innerText();
    assert.equal(spoken, "Moved to Doing, 2 of 2");
    await b.keyboard.press("ArrowUp");
    await b.keyboard.press("Enter");
    await b.keyboard.press("End");
    await b.keyboard.type(", now");
    await b.keyboard.press("Enter");
    await until(async () =>
      await card(a, "tabs").innerText() ===
        "Open a second tab beside this one, now"
    );
    assert.equal(await focusedCard(b), "tabs");
    await shows(a, {
      todo: ["offline"],
      doing: ["tabs", "keys"],
      done: ["drag"],
    });

    await a.getByLabel("Add a card to To do").fill("Ship it");
    await a.keyboard.press("Enter");
    await until(async () => await b.getByText("Ship it").count() === 1);
    await b.keyboard.press("Delete");
    for (const tab of [a, b]) {
      await until(async () => (await boardOf(tab)).doing?.join() === "keys");
    }
    assert.equal(await focusedCard(b), "keys");
    await app.shot(a, "kanban_light");
    await app.shot(b, "kanban_dark");
    assert.deepEqual(app.faults, []);
  },
});

Deno.test({
  ...browserTest(),
  name:
    "examples/kanban: what is done and undone while the server is away arrives once it is back",
  async fn() {
    await using app = await ExamplePage.start(KANBAN);
    const a = await app.open("", { viewport: { width: 390, height: 780 } });
    const b = await app.open();
    await status(a, "Online");
    await status(b, "Online");
    await a.getByLabel("Add a card to Doing").fill("Made before");
    await a.keyboard.press("Enter");
    await until(async () => await b.getByText("Made before").count() === 1);
    assert.equal((await app.stopServer())?.code, 0);
    await status(a, "Offline");

    await press(a, "drag", "Shift+ArrowRight");
    await press(a, "keys", "Delete");
    await press(a, "offline", "Shift+ArrowRight");
    await press(b, "offline", "Shift+ArrowRight");
    await press(b, "offline", "Shift+ArrowRight");
    await status(a, "Offline, 3 changes wait");
    await status(b, "Offline, 2 changes wait");
    assert.equal(await a.locator(".card.waiting").count(), 2);
    await app.shot(a, "kanban_offline_narrow");
    await app.shot(b, "kanban_offline");

    // What waits is taken back by a change that waits, too.
    await a.keyboard.press("Control+z");
    await until(async () => (await boardOf(a)).todo?.join() === "offline");
    await a.getByRole("button", { name: "Undo" }).click();
    await until(async () => (await boardOf(a)).todo?.join() === "keys,offline");
    await a.getByRole("button", { name: "Redo" }).click();
    await until(async () => (await boardOf(a)).todo?.join() === "offline");
    await status(a, "Offline, 6 changes wait");

    await app.startServer();
    const expected = { todo: [], doing: ["drag", "tabs"], done: ["offline"] };
    for (const tab of [a, b]) {
      await status(tab, "Online");
      await until(async () => {
        const { todo, doing, done } = await boardOf(tab);
        return !todo?.length && done?.join() === expected.done.join() &&
          doing?.slice(0, 2).join() === expected.doing.join();
      }, { ms: 10_000, describe: () => "the boards agree" });
      assert.equal(await tab.getByText("Made before").count(), 1);
      await until(async () => await tab.locator(".card.waiting").count() === 0);
    }
    assert.deepEqual(app.faults, []);
  },
});

Deno.test({
  ...browserTest(),
  name:
    "examples/kanban: what is done while the server is away outlives a reload, and arrives once",
  async fn() {
    await using app = await ExamplePage.start(KANBAN);
    const a = await app.open();
    const b = await app.open();
    await status(a, "Online");
    await status(b, "Online");
    await until(async () => await card(a, "drag").count() === 1);
    const serveFiles = await keepFiles(a);
    assert.equal((await app.stopServer())?.code, 0);
    const stopFiles = serveFiles();
    await status(a, "Offline");
    await press(a, "drag", "Shift+ArrowRight");
    await press(a, "keys", "Delete");
    await a.getByLabel("Add a card to Done").fill("Made offline");
    await a.keyboard.press("Enter");
    await status(a, "Offline, 3 changes wait");
    const made = await boardOf(a);
    await untilKept(a, 3);

    await a.reload();
    await shows(a, made);
    await status(a, "Offline, 3 changes wait");
    assert.equal(await a.getByText("Made offline").count(), 1);
    assert.equal(await a.locator(".card.waiting").count(), 2);
    // And what is done after it builds on that.
    await press(a, "drag", "Shift+ArrowRight");
    await status(a, "Offline, 4 changes wait");
    const moved = await boardOf(a);
    assert.ok(moved.done?.includes("drag"));
    await app.shot(a, "kanban_reloaded_offline");

    await stopFiles();
    await app.startServer();
    for (const tab of [a, b]) {
      await status(tab, "Online");
      await shows(tab, moved);
      await until(async () => await tab.locator(".card.waiting").count() === 0);
    }
    await untilKept(a, 0);
    await a.reload();
    await status(a, "Online");
    await shows(a, moved);
    assert.deepEqual(app.faults, []);
  },
});

Deno.test({
  ...browserTest(),
  name:
    "examples/kanban: two tabs that move the cards of one list at once keep every card once",
  async fn() {
    await using app = await ExamplePage.start(KANBAN);
    const tabs = [await app.open(), await app.open()];
    const [a, b] = tabs as [Page, Page];
    for (let n = 1; n <= 5; n++) {
      await a.getByLabel("Add a card to To do").fill(`Card ${n}`);
      await a.keyboard.press("Enter");
    }
    await until(async () => (await boardOf(b)).todo?.length === 8);
    const cards = Object.values(await boardOf(b)).flat().sort();

    await Promise.all(tabs.map(async (tab, seed) => {
      for (let n = 0; n < 30; n++) {
        const id = cards[(n * 5 + seed * 2) % cards.length] ?? "";
        await press(
          tab,
          id,
          `Shift+Arrow${["Right", "Down", "Left", "Up"][n % 4]}`,
        );
        if (n % 6 === 5) await tab.keyboard.press("Control+z");
      }
    }));
    await until(async () => {
      const [left, right] = await Promise.all(tabs.map(boardOf));
      const isCalm = await tabs.reduce(
        async (calm, tab) =>
          await calm && await tab.locator(".card.waiting").count() === 0,
        Promise.resolve(true),
      );
      return isCalm && JSON.stringify(left) === JSON.stringify(right);
    }, { ms: 10_000 });
    const ends = Object.values(await boardOf(a)).flat().sort();
    assert.deepEqual(ends, cards);
    await tabs[0]?.reload();
    await until(async () => (await boardOf(a)).todo !== undefined);
    assert.deepEqual(await boardOf(a), await boardOf(b));
    assert.deepEqual(app.faults, []);
  },
});

Deno.test({
  ...browserTest(),
  name:
    "examples/kanban: a drag can be given up, works by finger, and shows what undo cannot take back",
  async fn() {
    await using app = await ExamplePage.start(KANBAN);
    const a = await app.open();
    const phone = { viewport: { width: 390, height: 780 }, hasTouch: true };
    const b = await app.open("", { ...phone, isMobile: true });
    await until(async () => await card(b, "drag").count() === 1);
    const before = await boardOf(a);

    await card(a, "keys").hover();
    await a.mouse.down();
    await a.mouse.move(560, 190, { steps: 5 });
    await until(async () => (await boardOf(a)).doing?.includes("keys"));
    await app.shot(a, "kanban_drag");
    await a.keyboard.press("Escape");
    await shows(a, before);
    await a.mouse.up();
    assert.equal(await a.locator(".copy").count(), 0);

    const touch = await b.context().newCDPSession(b);
    const send = (type: "touchStart" | "touchMove" | "touchEnd", at?: Point) =>
      touch.send("Input.dispatchTouchEvent", {
        type,
        touchPoints: at ? [at] : [],
      });
    const grip = await middleOf(b, '[data-card="drag"] .grip');
    const target = await middleOf(b, '[data-column="doing"] .cards');
    await send("touchStart", grip);
    await send("touchMove", { x: grip.x, y: grip.y + 20 });
    await send("touchMove", target);
    await app.shot(b, "kanban_finger_narrow");
    await send("touchEnd");
    await until(async () => (await boardOf(a)).doing?.includes("drag"));

    await card(a, "drag").press("Delete");
    await until(async () => await card(b, "drag").count() === 0);
    await b.getByRole("button", { name: "Undo" }).click();
    await until(async () =>
      /others have changed the same since/.test(
        await b.getByTestId("notice").innerText(),
      )
    );
    await app.shot(b, "kanban_notice_narrow");
    await a.getByRole("button", { name: "Undo" }).click();
    await until(async () => await card(b, "drag").count() === 1);
    assert.deepEqual(app.faults, []);
  },
});

interface Point {
  readonly x: number;
  readonly y: number;
}

async function middleOf(page: Page, selector: string): Promise<Point> {
  const box = await page.locator(selector).boundingBox();
  assert.ok(box, `${selector} is not shown`);
  return { x: box.x + box.width / 2, y: box.y + box.height / 2 };
}

function card(page: Page, id: string) {
  return page.locator(`[data-card="${id}"]`);
}

/** Presses keys on a card. */
async function press(page: Page, id: string, keys: string): Promise<void> {
  await card(page, id).press(keys);
}

async function dragTo(page: Page, id: string, column: string): Promise<void> {
  await card(page, id).hover();
  await page.mouse.down();
  await page.locator(`[data-column="${column}"] .cards`).hover();
  await page.locator(".copy").waitFor();
  await page.mouse.up();
}

async function focusedCard(page: Page): Promise<string | undefined> {
  return await page.evaluate(() =>
    (document.activeElement as HTMLElement | null)?.dataset.card
  );
}

/**
 * What serves the page's files, and nothing else, while the server is away: as a
 * service worker does. Returns what begins it, which returns what ends it.
 */
async function keepFiles(page: Page): Promise<() => () => Promise<void>> {
  const kept = new Map<string, [body: Uint8Array<ArrayBuffer>, type: string]>();
  for (const path of ["/", "/style.css", "/main.js"]) {
    const response = await fetch(new URL(path, page.url()));
    const type = response.headers.get("content-type") ?? "";
    kept.set(path, [await response.bytes(), type]);
  }
  const port = Number(new URL(page.url()).port);
  return () => {
    const options = { port, hostname: "localhost", onListen() {} };
    const server = Deno.serve(options, (request) => {
      const file = kept.get(new URL(request.url).pathname);
      if (!file || request.headers.has("upgrade")) {
        return new Response(null, { status: 503 });
      }
      return new Response(file[0], { headers: { "content-type": file[1] } });
    });
    return () => server.shutdown();
  };
}

/** Waits until the page's storage holds that many writes: what comes before that a reload may lose. */
async function untilKept(page: Page, count: number): Promise<void> {
  const isKept = () =>
    page.evaluate((count) =>
      new Promise<boolean>((resolve, reject) => {
        const opening = indexedDB.open("kanban");
        opening.onerror = () => reject(opening.error);
        opening.onsuccess = () => {
          const db = opening.result;
          const keys = db.transaction("records").objectStore("records")
            .getAllKeys();
          keys.onsuccess = () => {
            db.close();
            const writes = keys.result.filter((key) =>
              String(key).startsWith("write:")
            );
            resolve(writes.length === count);
          };
        };
      }), count);
  await until(isKept, { ms: 20_000, describe: () => `${count} writes kept` });
}

async function status(page: Page, text: string): Promise<void> {
  let found = "";
  await until(
    async () => (found = await page.getByTestId("status").innerText()) === text,
    { ms: 20_000, describe: () => `status "${text}", found "${found}"` },
  );
}

/** Ids of the cards in each column. */
async function boardOf(page: Page): Promise<Record<string, string[]>> {
  return await page.locator("[data-column]").evaluateAll((columns) =>
    Object.fromEntries((columns as HTMLElement[]).map((column) => [
      column.dataset.column,
      [...column.querySelectorAll<HTMLElement>("[data-card]")].map((card) =>
        card.dataset.card ?? ""
      ),
    ]))
  );
}

async function shows(
  page: Page,
  expected: Record<string, string[]>,
): Promise<void> {
  let found = {};
  await until(async () => {
    found = await boardOf(page);
    return JSON.stringify(found) === JSON.stringify(expected);
  }, {
    ms: 10_000,
    describe: () =>
      `${JSON.stringify(expected)}, found ${JSON.stringify(found)}`,
  });
}
