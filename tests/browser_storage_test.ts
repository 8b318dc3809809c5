/** What a browser keeps: Chromium, IndexedDB, Web Locks, and pages that are reloaded. */
import assert from "node:assert/strict";
import type { BrowserContext, Page } from "playwright-core";
import { bundlePage } from "../examples/serve_page.ts";
import { createServer } from "../server/mod.ts";
import { browserTest, launchChromium } from "./_chromium.ts";
import { startProxy, tempKvPath, until } from "./_harness.ts";
import { listApp } from "./data/storage_page/app.ts";
import type { ListPage } from "./data/storage_page/main.ts";

/** A server for the page alone: it stays when the other is down. */
async function servePage() {
  const files = await bundlePage(
    new URL("./data/storage_page/", import.meta.url),
  );
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    (request) => {
      const { pathname } = new URL(request.url);
      const file = files[pathname];
      if (!file) return new Response(null, { status: 404 });
      return new Response(file.body, {
        headers: { "content-type": file.type },
      });
    },
  );
  return {
    origin: `http://127.0.0.1:${server.addr.port}`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

async function startBrowser() {
  const browser = await launchChromium();
  return {
    context: await browser.newContext(),
    [Symbol.asyncDispose]: () => browser.close(),
  };
}

async function startServer(kv: string, { port = 0, origin }: {
  port?: number;
  origin: string;
}) {
  const server = createServer({ app: listApp, kv, cors: origin });
  const list = server.createStore("List", { write: true });
  await server.listen({ port, host: "127.0.0.1" });
  return Object.assign(list, {
    port: server.port,
    close: () => server.close(),
    [Symbol.asyncDispose]: () => server.close(),
  });
}

/** One page, by what it shows. */
class Tab {
  readonly page: Page;

  private constructor(page: Page) {
    this.page = page;
  }

  static async open(context: BrowserContext, url: string) {
    const page = await context.newPage();
    await page.goto(url);
    return new Tab(page);
  }

  do<R>(run: (list: ListPage) => R): Promise<Awaited<R>> {
    // Its source goes to the page, where `list` is a global.
    return this.page.evaluate(`(${run})(list)`) as Promise<Awaited<R>>;
  }

  status() {
    return this.do((list) => list.status());
  }

  async until(
    predicate: (
      status: ReturnType<ListPage["status"]>,
    ) => boolean | Promise<boolean>,
  ) {
    let status: unknown;
    await until(
      async () => {
        const present = status = await this.status();
        return await predicate(present as never); // what it gives
      },
      {
        ms: 15_000,
        describe: () => `${predicate}, found ${JSON.stringify(status)}`,
      },
    );
  }

  async untilKept(count: number) {
    await until(async () => await this.do((list) => list.kept()) === count, {
      ms: 15_000,
      describe: () => `${count} writes are kept`,
    });
  }

  texts() {
    return this.page.locator("#items li").allInnerTexts();
  }
}

Deno.test({
  ...browserTest(),
  name: "indexedDbStorage() keeps the storage contract",
  async fn() {
    await using pages = await servePage();
    await using browser = await startBrowser();
    const tab = await Tab.open(browser.context, pages.origin);
    const { faults, claims } = await tab.do((list) => list.runContract());
    assert.deepEqual(faults, []);
    assert.ok(claims > 5);
  },
});

Deno.test({
  ...browserTest(),
  name:
    "indexedDbStorage() shows what was written offline after a reload while the server is down, and sends it once",
  async fn() {
    await using kv = await tempKvPath();
    await using pages = await servePage();
    await using browser = await startBrowser();
    const server = await startServer(kv.path, pages);
    const { port } = server;
    const url = `${pages.origin}/?port=${port}`;
    const tab = await Tab.open(browser.context, url);
    await tab.until(({ isStale }) => !isStale);
    await tab.do((list) => list.push("online"));
    await tab.until(({ unacked }) => unacked === 0);
    await server.close();
    await tab.until(({ status }) => status === "reconnecting");
    await tab.do((list) => {
      list.add("mutator");
      list.push("recipe");
      list.add("another");
    });
    await tab.untilKept(3);

    const expected = ["online", "mutator", "recipe", "another"];
    for (let reload = 0; reload < 3; reload++) {
      await tab.page.reload();
      await tab.until(({ unacked }) => unacked === 3);
      assert.deepEqual(await tab.texts(), expected);
      const { clientId, isStale } = await tab.status();
      assert.deepEqual([clientId, isStale], [undefined, true]);
    }
    await using again = await startServer(kv.path, { port, ...pages });
    await tab.until(({ unacked, isStale }) => unacked === 0 && !isStale);
    assert.deepEqual((await again.get()).items, expected);
    assert.deepEqual((await tab.status()).errors, []);
    await tab.untilKept(0);
    await tab.page.reload();
    await tab.until(({ isStale }) => !isStale);
    assert.deepEqual((await again.get()).items, expected);
  },
});

Deno.test({
  ...browserTest(),
  name:
    "indexedDbStorage() has what was sent and not answered applied once, through a reload",
  async fn() {
    await using pages = await servePage();
    await using browser = await startBrowser();
    await using server = await startServer(":memory:", pages);
    await using proxy = await startProxy(server.port);
    const url = `${pages.origin}/?port=${proxy.port}`;
    const tab = await Tab.open(browser.context, url);
    await tab.until(({ isStale }) => !isStale);
    proxy.stall();
    await tab.do((list) => {
      list.push("recipe");
      list.add("mutator");
    });
    await until(async () => (await server.get()).items.length === 2);
    proxy.refuse(true);
    await tab.page.reload();
    proxy.cut();
    proxy.resume();
    await tab.until(({ unacked }) => unacked === 2);
    assert.deepEqual(await tab.texts(), ["recipe", "mutator"]);
    proxy.refuse(false);
    await tab.until(({ unacked, isStale }) => unacked === 0 && !isStale);
    await tab.do((list) => list.add("next"));
    await tab.until(({ unacked }) => unacked === 0);
    assert.deepEqual((await server.get()).items, ["recipe", "mutator", "next"]);
    assert.deepEqual((await tab.status()).errors, []);
  },
});

Deno.test({
  ...browserTest(),
  name:
    "indexedDbStorage() has one tab keep, and the other take over when that is closed",
  async fn() {
    await using kv = await tempKvPath();
    await using pages = await servePage();
    await using browser = await startBrowser();
    const server = await startServer(kv.path, pages);
    const { port } = server;
    const url = `${pages.origin}/?port=${port}`;
    const first = await Tab.open(browser.context, url);
    await first.until(({ isStale }) => !isStale);
    const second = await Tab.open(browser.context, url);
    await second.until(({ isStale }) => !isStale);
    await server.close();
    await second.until(({ isStale }) => isStale);
    await second.do((list) => list.add("memory"));
    await first.do((list) => list.add("kept"));
    await first.untilKept(1);
    assert.equal((await second.status()).unacked, 1);
    await first.page.close();

    await second.until(({ unacked }) => unacked === 2);
    await second.untilKept(2);
    await second.page.reload();
    await second.until(({ unacked }) => unacked === 2);
    await using again = await startServer(kv.path, { port, ...pages });
    await second.until(({ unacked }) => unacked === 0);
    assert.deepEqual((await again.get()).items, ["kept", "memory"]);
  },
});

Deno.test({
  ...browserTest(),
  name:
    "indexedDbStorage() lets its database be deleted, and the client goes on",
  async fn() {
    await using pages = await servePage();
    await using browser = await startBrowser();
    await using server = await startServer(":memory:", pages);
    const url = `${pages.origin}/?port=${server.port}`;
    const tab = await Tab.open(browser.context, url);
    await tab.until(({ isStale }) => !isStale);
    assert.equal(await tab.do((list) => list.deleteDatabase()), "deleted");
    await tab.do((list) => list.push("after"));
    await tab.until(({ unacked }) => unacked === 0);
    assert.deepEqual((await server.get()).items, ["after"]);
  },
});
