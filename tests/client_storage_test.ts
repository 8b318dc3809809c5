/**
 * What a client keeps over a reload: fresh clients over one storage, a real server,
 * real sockets.
 */
import assert from "node:assert/strict";
import {
  type ClientOptions,
  type ClientStorage,
  createClient,
  defineApp,
  type HeadwaterError,
} from "../client/mod.ts";
import { createServer } from "../server/mod.ts";
import {
  startProxy,
  type TcpProxy,
  until,
  within as inTime,
} from "./_harness.ts";
import { MemoryDisk, type MemoryPage } from "./_memory_storage.ts";
import { storageContract } from "./_storage_contract.ts";

for (const [claim, run] of storageContract) {
  Deno.test(`ClientStorage in memory ${claim}`, () => {
    const disk = new MemoryDisk();
    return run(() => disk.openPage());
  });
}

interface Board {
  items: { id: string; text: string; done: boolean }[];
  title: string;
}

const item = (id: string) => ({ id, text: id, done: false });

const app = defineApp({
  stores: {
    Board: {
      initial: { items: [item("a"), item("b")], title: "Board" } as Board,
    },
    Other: { initial: { n: 1 } },
  },
  mutators: {
    add: {
      store: "Board",
      run: (draft: Board, id: string) => {
        draft.items.push(item(id));
      },
    },
    addNew: {
      store: "Board",
      run: (draft: Board, text: string, ctx) => {
        draft.items.push({ ...item(ctx.id()), text });
      },
    },
  },
});

const push = (id: string) => (draft: Board) => void draft.items.push(item(id));
const idsOf = (state: Board | undefined) => state?.items.map(({ id }) => id);
const within = <T>(promise: Promise<T>) =>
  inTime(promise, { describe: () => "a write" });

/** A server behind a proxy, and the pages of one browser. */
async function startBrowser() {
  const server = createServer({ app, kv: ":memory:" });
  const board = server.createStore("Board", { write: true });
  await server.listen({ port: 0, host: "127.0.0.1" });
  const proxy = await startProxy(server.port);
  const disk = new MemoryDisk();
  const tabs: Tab[] = [];
  return {
    server,
    board,
    proxy,
    disk,
    open: (options?: ClientOptions<typeof app>) => {
      const tab = new Tab(proxy, disk.openPage(), options);
      tabs.push(tab);
      return tab;
    },
    /** Nothing comes through, and every tab knows. */
    goOffline: async () => {
      proxy.refuse(true);
      proxy.cut();
      await until(() =>
        tabs.every(({ client }) => client.status !== "connected")
      );
    },
    goOnline: () => proxy.refuse(false),
    [Symbol.asyncDispose]: async () => {
      for (const tab of tabs) tab.client.destroy();
      await proxy[Symbol.asyncDispose]();
      await server.close();
    },
  };
}

/** A page with a client, that looks at the board. */
class Tab {
  readonly client;
  readonly handle;
  readonly page: MemoryPage;
  readonly errors: HeadwaterError[] = [];
  readonly seen: Board[] = [];

  constructor(
    proxy: TcpProxy,
    page: MemoryPage,
    options: ClientOptions<typeof app> = {},
  ) {
    this.page = page;
    this.client = createClient<typeof app>(`ws://127.0.0.1:${proxy.port}`, {
      app,
      reconnectDelayMs: 20,
      reconnectMaxMs: 40,
      storage: page,
      ...options,
    });
    this.client.on("error", (error) => {
      this.errors.push(error as HeadwaterError);
    });
    this.handle = this.client.subscribe("Board", (state) => {
      this.seen.push(state);
    });
  }

  ready() {
    return within(this.handle.ready());
  }

  /** The browser ends the page, in the middle of whatever it is at. */
  vanish() {
    this.page.vanish();
    this.client.destroy();
  }

  async settled() {
    await until(() => this.client.unackedCount === 0, {
      describe: () =>
        `answered: ${this.client.unackedCount} left, ${this.client.status}, ${this.errors}`,
    });
  }
}

const writeKeysOf = (disk: MemoryDisk) =>
  [...disk.records.keys()].filter((key) => key.startsWith("write:"));

Deno.test("ClientOptions.storage keeps what is written offline over a reload: shown before any connection, applied once, in order", async () => {
  await using browser = await startBrowser();
  const first = browser.open();
  await first.ready();
  await browser.goOffline();
  first.handle.update(push("c")).catch(() => {});
  first.client.mutate("add", "d").catch(() => {});
  first.client.batch(() => {
    first.handle.update(push("e")).catch(() => {});
    first.client.mutate("addNew", "f").catch(() => {});
  }).catch(() => {});
  const shown = first.handle.getState();
  await until(() => writeKeysOf(browser.disk).length === 3);
  first.vanish();

  const second = browser.open();
  await second.ready();
  assert.deepEqual(
    second.handle.getState(),
    shown,
    "also the ids that a mutator made",
  );
  assert.deepEqual(idsOf(second.handle.getServerState()), ["a", "b"]);
  assert.equal(second.handle.isStale, true);
  assert.equal(second.client.unackedCount, 3);
  assert.ok(second.handle.lastSyncedAt! > Date.now() - 60_000);
  assert.equal(second.client.clientId, undefined, "no server was asked");
  second.handle.update(push("g")).catch(() => {});

  browser.goOnline();
  await second.settled();
  const ids = [...idsOf(shown)!, "g"];
  assert.deepEqual(idsOf(await browser.board.get()), ids);
  assert.deepEqual(idsOf(second.handle.getServerState()), ids);
  assert.equal(second.handle.isStale, false);
  for (const state of second.seen) {
    assert.equal(new Set(idsOf(state)).size, state.items.length, "shown twice");
  }
  await until(() => writeKeysOf(browser.disk).length === 0);
  assert.deepEqual(second.errors, []);

  second.vanish();
  const third = browser.open();
  await third.ready();
  await until(() => !third.handle.isStale);
  assert.deepEqual(
    idsOf(await browser.board.get()),
    ids,
    "nothing is sent again",
  );
});

Deno.test("ClientOptions.storage sends what was sent and not answered again after a reload: it applies once", async () => {
  await using browser = await startBrowser();
  const first = browser.open();
  await first.ready();
  const { clientId } = first.client;
  browser.proxy.stall();
  const answered = first.client.call("none").catch(() => {});
  for (const id of ["c", "d"]) first.handle.update(push(id)).catch(() => {});
  first.client.mutate("add", "e").catch(() => {});
  // The server has them; of their answers nothing comes through.
  await until(async () => (await browser.board.get()).items.length === 5);
  await browser.board.update(push("foreign"));
  first.vanish();
  browser.proxy.cut();
  browser.proxy.resume();
  await answered;

  const second = browser.open();
  await second.ready();
  assert.deepEqual(idsOf(second.handle.getState()), ["a", "b", "c", "d", "e"]);
  assert.equal(second.client.unackedCount, 3);
  // A call of this life must not get the answer of one of the life before.
  await assert.rejects(within(second.client.call("none")), {
    code: "function_missing",
  });
  await second.settled();
  assert.deepEqual(second.errors, []);
  const ids = ["a", "b", "c", "d", "e", "foreign"];
  assert.deepEqual(idsOf(await browser.board.get()), ids);
  assert.deepEqual(idsOf(second.handle.getState()), ids);
  assert.equal(second.client.clientId, clientId, "the session goes on");
  await within(second.handle.update(push("f")));
});

Deno.test("ClientOptions.storage: what a page sent last applies once, wherever the page ended", async () => {
  await using browser = await startBrowser();
  const expected = ["a", "b"];
  for (let round = 0; round < 12; round++) {
    const tab = browser.open();
    await until(() => !tab.handle.isStale);
    const ids = [0, 1, 2].map((n) => `${round}:${n}`);
    for (const id of ids) tab.client.mutate("add", id).catch(() => {});
    // Later in each round: before it is kept, between that and the answer, after.
    for (let step = 0; step < round; step++) {
      await new Promise((resolve) => setTimeout(resolve));
    }
    tab.vanish();
    if (round % 3 === 0) browser.proxy.cut();
  }
  const last = browser.open();
  await until(() => !last.handle.isStale);
  await last.settled();
  const ids = idsOf(await browser.board.get())!;
  assert.equal(new Set(ids).size, ids.length, `twice: ${ids}`);
  assert.deepEqual(
    ids.slice(2),
    ids.slice(2).toSorted((a, b) =>
      parseInt(a) - parseInt(b) || (a < b ? -1 : 1)
    ),
    "in order",
  );
  assert.ok(ids.length > expected.length);
  assert.deepEqual(last.errors, []);
});

Deno.test("ClientOptions.storage sends nothing before it is kept with its number", async () => {
  await using browser = await startBrowser();
  const tab = browser.open();
  await tab.ready();
  await until(() => browser.disk.saves > 0);
  const release = browser.disk.holdSaves();
  const written = [tab.handle.update(push("c"))];
  const other = browser.open({ storage: undefined });
  for (let turn = 0; turn < 10; turn++) {
    written.push(tab.client.mutate("add", `${turn}`));
    // Long enough for it to be sent and committed, if it was to be sent.
    await assert.rejects(within(other.client.call("none")));
  }
  assert.deepEqual(idsOf(await browser.board.get()), ["a", "b"]);
  assert.equal(tab.client.unackedCount, 11);
  release();
  await within(Promise.all(written));
  assert.deepEqual(
    idsOf(await browser.board.get()),
    ["a", "b", "c", ...Array(10).keys().map(String)],
  );
});

Deno.test("ClientOptions.storage refuses a patch whose recipe is gone if others changed the same, and no other", async () => {
  await using browser = await startBrowser();
  const first = browser.open();
  await first.ready();
  await browser.goOffline();
  const write = (recipe: (draft: Board) => void) =>
    void first.handle.update(recipe).catch(() => {});
  write((draft) => void (draft.items[0]!.text = "mine"));
  write((draft) => void (draft.items[1]!.done = true));
  write((draft) => void (draft.title = "Mine"));
  write((draft) => void (draft.items[0]!.done = true));
  await until(() => writeKeysOf(browser.disk).length === 4);
  first.vanish();
  await browser.board.update((draft) => {
    draft.items[0]!.text = "theirs";
    draft.items.push(item("theirs"));
  });

  const second = browser.open();
  await second.ready();
  assert.equal(second.handle.getState()?.items[0]?.text, "mine");
  browser.goOnline();
  await second.settled();
  assert.deepEqual(
    second.errors.map(({ code, outcome }) => [code, outcome]),
    [["conflict", "notApplied"]],
  );
  const state = await browser.board.get();
  assert.deepEqual(state, {
    title: "Mine",
    items: [
      { id: "a", text: "theirs", done: true },
      { id: "b", text: "b", done: true },
      item("theirs"),
    ],
  });
  assert.deepEqual(second.handle.getState(), state);
  await until(() => writeKeysOf(browser.disk).length === 0);
});

Deno.test("ClientOptions.storage: a patch on top of a write that has landed since is no conflict", async () => {
  await using browser = await startBrowser();
  const first = browser.open();
  await first.ready();
  browser.proxy.stall();
  first.handle.update(push("c")).catch(() => {});
  await until(async () => (await browser.board.get()).items.length === 3);
  await browser.board.update((draft) => void (draft.title = "Theirs"));
  await browser.goOffline();
  first.handle.update(push("d")).catch(() => {});
  first.handle.update((draft) => void (draft.items[2]!.done = true))
    .catch(() => {});
  await until(() => writeKeysOf(browser.disk).length === 3);
  first.vanish();
  browser.proxy.resume();
  browser.goOnline();

  const second = browser.open();
  await until(() => !second.handle.isStale);
  await second.settled();
  assert.deepEqual(second.errors, []);
  assert.deepEqual(await browser.board.get(), {
    title: "Theirs",
    items: [item("a"), item("b"), { ...item("c"), done: true }, item("d")],
  });
});

Deno.test("ClientOptions.storage: expectVersion is refused after a reload if others wrote at all", async () => {
  for (const isForeign of [false, true]) {
    await using browser = await startBrowser();
    const first = browser.open();
    await first.ready();
    await browser.goOffline();
    first.handle.merge({ title: "Mine" }, { policy: "expectVersion" })
      .catch(() => {});
    await until(() => writeKeysOf(browser.disk).length === 1);
    first.vanish();
    if (isForeign) await browser.board.update(push("theirs"));
    const second = browser.open();
    await second.ready();
    assert.equal(second.handle.getState()?.title, "Mine");
    browser.goOnline();
    await second.settled();
    assert.deepEqual(
      second.errors.map(({ code }) => code),
      isForeign ? ["conflict"] : [],
    );
    const { title } = await browser.board.get();
    assert.equal(title, isForeign ? "Board" : "Mine");
    assert.equal(second.handle.getState()?.title, title);
  }
});

Deno.test("ClientOptions.storage shows the last state at once, and resumes from it without a snapshot", async () => {
  await using browser = await startBrowser();
  const big = Array.from({ length: 500 }, (_, n) => item(`${n}`));
  await browser.board.set({ items: big, title: "Big" });
  const first = browser.open();
  await first.ready();
  await until(() => browser.disk.records.has("state:Board"));
  await browser.goOffline();
  first.vanish();
  await browser.board.update((draft) => void (draft.title = "Bigger"));

  const second = browser.open();
  await second.ready();
  assert.equal(second.handle.getState()?.title, "Big");
  assert.equal(second.handle.isStale, true);
  assert.deepEqual(second.seen.map(({ title }) => title), ["Big"]);
  const late = second.client.subscribe("Board");
  assert.equal(late.hasData(), true);
  const before = browser.proxy.bytesDown;
  browser.goOnline();
  await until(() => !second.handle.isStale);
  assert.deepEqual(second.seen.map(({ title }) => title), ["Big", "Bigger"]);
  assert.ok(browser.proxy.bytesDown - before < 1_000, "a snapshot came");
});

Deno.test("ClientOptions.storage keeps the state of a store that nobody looks at any more, and drops that of one that was deleted", async () => {
  await using browser = await startBrowser();
  const other = browser.server.createStore("Other");
  const open = () => {
    const tab = browser.open();
    const handle = tab.client.subscribe("Other");
    return { tab, handle };
  };
  const first = open();
  await within(first.handle.ready());
  await until(() => browser.disk.records.has("state:Other"));
  first.tab.vanish();
  const second = browser.open();
  await second.ready();
  await browser.goOffline();
  const late = second.client.subscribe("Other");
  assert.deepEqual(late.getState(), { n: 1 });
  browser.goOnline();
  await until(() => !late.isStale);
  await other.delete();
  await until(() => !browser.disk.records.has("state:Other"));
});

Deno.test("ClientOptions.storage drops the state of a store that may not be read any more", async () => {
  await using browser = await startBrowser();
  let mayRead = true;
  browser.server.createStore("Other", { read: () => mayRead });
  const first = browser.open();
  await within(first.client.subscribe("Other").ready());
  await until(() => browser.disk.records.has("state:Other"));
  first.vanish();
  mayRead = false;
  const second = browser.open();
  second.client.subscribe("Other");
  await until(() => second.errors.length > 0);
  assert.deepEqual(second.errors.map(({ code }) => code), ["forbidden"]);
  await until(() => !browser.disk.records.has("state:Other"));
});

Deno.test("ClientOptions.storage: one tab keeps, the other works without and takes over what is left", async () => {
  await using browser = await startBrowser();
  const first = browser.open();
  await first.ready();
  await until(() => browser.disk.records.has("state:Board"));
  const second = browser.open();
  await second.ready();
  await within(second.handle.update(push("second")));
  await until(() => idsOf(first.handle.getState())?.length === 3);
  await browser.goOffline();
  second.client.mutate("add", "memory").catch(() => {});
  first.client.mutate("add", "kept").catch(() => {});
  first.handle.update((draft) => void (draft.title = "Kept")).catch(() => {});
  await until(() => writeKeysOf(browser.disk).length === 2);
  assert.equal(second.client.unackedCount, 1);
  first.vanish();

  await until(() => second.client.unackedCount === 3);
  assert.deepEqual(idsOf(second.handle.getState()), [
    "a",
    "b",
    "second",
    "kept",
    "memory",
  ]);
  await until(() => writeKeysOf(browser.disk).length === 3);
  second.vanish();
  const third = browser.open();
  await third.ready();
  assert.equal(third.client.unackedCount, 3);
  browser.goOnline();
  await third.settled();
  assert.deepEqual(third.errors, []);
  const state = await browser.board.get();
  assert.deepEqual(idsOf(state), ["a", "b", "second", "kept", "memory"]);
  assert.equal(state.title, "Kept");
});

Deno.test("ClientOptions.storage: what the tab before had sent goes on in its session in the tab that takes over", async () => {
  await using browser = await startBrowser();
  await using other = await startProxy(browser.server.port);
  const first = browser.open();
  await first.ready();
  const second = new Tab(other, browser.disk.openPage());
  await second.ready();
  const before = first.client.clientId;
  browser.proxy.stall();
  first.client.mutate("add", "sent").catch(() => {});
  await until(() => idsOf(second.handle.getState())?.includes("sent"));
  first.client.mutate("add", "too").catch(() => {});
  await until(async () => (await browser.board.get()).items.length === 4);
  first.vanish();
  await until(() => second.client.clientId === before);
  await second.settled();
  await within(second.handle.update(push("new")));
  assert.deepEqual(idsOf(await browser.board.get()), [
    "a",
    "b",
    "sent",
    "too",
    "new",
  ]);
  assert.deepEqual(second.errors, []);
  await until(() => writeKeysOf(browser.disk).length === 0);
  second.client.destroy();
});

Deno.test("ClientOptions.storage: who takes over has the answers to what it has sent itself before", async () => {
  await using browser = await startBrowser();
  await using other = await startProxy(browser.server.port);
  const first = browser.open();
  await first.ready();
  const second = new Tab(other, browser.disk.openPage());
  await second.ready();
  browser.proxy.stall();
  first.client.mutate("add", "left").catch(() => {});
  await until(() => idsOf(second.handle.getState())?.includes("left"));
  other.stall();
  const own = second.client.mutate("add", "own");
  await until(async () => (await browser.board.get()).items.length === 4);
  first.vanish();
  // It has the lock, and has made sure of numbers of its own in that session.
  await until(() =>
    JSON.parse(browser.disk.records.get("session")!).lives === 1
  );
  assert.equal(second.client.unackedCount, 1);
  other.resume();
  await within(own);
  await until(() => second.client.clientId !== undefined);
  await second.settled();
  await within(second.handle.update(push("new")));
  assert.deepEqual(idsOf(await browser.board.get()), [
    "a",
    "b",
    "left",
    "own",
    "new",
  ]);
  assert.deepEqual(second.errors, []);
  second.client.destroy();
});

Deno.test("ClientOptions.storage: what has a number and was not sent is as good as new in another session", async () => {
  await using browser = await startBrowser();
  const { port } = browser.server;
  const tab = browser.open();
  await tab.ready();
  await until(() => browser.disk.saves > 0);
  const release = browser.disk.holdSaves();
  const written = ["c", "d"].map((id) => tab.client.mutate("add", id));
  await until(() => tab.client.unackedCount === 2);
  await browser.server.close();
  // It knows nothing of the session, as it has another KV.
  await using next = createServer({ app, kv: ":memory:" });
  const board = next.createStore("Board", { write: true });
  await next.listen({ port, host: "127.0.0.1" });
  await until(() => !tab.handle.isStale);
  release();
  await within(Promise.all(written));
  await within(tab.client.mutate("add", "e"));
  assert.deepEqual(idsOf(await board.get()), ["a", "b", "c", "d", "e"]);
  assert.deepEqual(tab.errors, []);
});

Deno.test("client.destroy() leaves what is unsent in the storage, and says that its outcome is not known", async () => {
  await using browser = await startBrowser();
  const first = browser.open();
  await first.ready();
  await browser.goOffline();
  const written = first.handle.update(push("c"));
  first.client.destroy();
  await assert.rejects(within(written), {
    code: "disconnected",
    outcome: "unknown",
  });
  browser.goOnline();
  const second = browser.open();
  await until(() => idsOf(second.handle.getServerState())?.length === 3);
  await second.settled();
  assert.deepEqual(idsOf(await browser.board.get()), ["a", "b", "c"]);
});

Deno.test("ClientStorage.clear() behind client.destroy() leaves nothing", async () => {
  await using browser = await startBrowser();
  const first = browser.open();
  await first.ready();
  await browser.goOffline();
  first.handle.update(push("c")).catch(() => {});
  await until(() => writeKeysOf(browser.disk).length === 1);
  first.handle.update(push("d")).catch(() => {});
  first.client.destroy();
  await first.page.clear();
  assert.equal(browser.disk.records.size, 0);
  browser.goOnline();
  const second = browser.open();
  await second.ready();
  await until(() => !second.handle.isStale);
  assert.equal(second.client.unackedCount, 0);
  assert.deepEqual(idsOf(await browser.board.get()), ["a", "b"]);
});

Deno.test("ClientOptions.storage: what is kept waits where the client stops trying", async () => {
  await using browser = await startBrowser();
  const tab = browser.open({ reconnect: false });
  await tab.ready();
  browser.proxy.stall();
  const written = tab.handle.update(push("c"));
  await until(async () => (await browser.board.get()).items.length === 3);
  browser.proxy.cut();
  await until(() => tab.client.status === "closed");
  const late = tab.handle.update(push("d"));
  await until(() => writeKeysOf(browser.disk).length === 2);
  assert.deepEqual(idsOf(tab.handle.getState()), ["a", "b", "c", "d"]);
  browser.proxy.resume();
  tab.client.connect(`ws://127.0.0.1:${browser.proxy.port}`);
  await within(Promise.all([written, late]));
  assert.deepEqual(idsOf(await browser.board.get()), ["a", "b", "c", "d"]);
  assert.deepEqual(tab.errors, []);
});

Deno.test("ClientOptions.storage that fails is told once, and the client goes on without", async () => {
  for (const action of ["lock", "load", "save"] as const) {
    await using browser = await startBrowser();
    browser.disk.failures[action] = new Error(`No ${action}`);
    const tab = browser.open();
    await tab.ready();
    await within(tab.handle.update(push("c")));
    await within(tab.handle.update(push("d")));
    assert.deepEqual(idsOf(await browser.board.get()), ["a", "b", "c", "d"]);
    assert.deepEqual(
      tab.errors.map(({ code, cause }) => [code, (cause as Error).message]),
      [["unavailable", `No ${action}`]],
    );
    assert.equal(browser.disk.records.size, 0);
  }
});

Deno.test("ClientOptions.storage that fails later gives back what it has, else that is not sent", async () => {
  for (const canDelete of [true, false]) {
    await using browser = await startBrowser();
    const tab = browser.open();
    await tab.ready();
    await browser.goOffline();
    const written = tab.handle.update(push("c"));
    const result = within(written).then(() => "written", ({ code }) => code);
    await until(() => writeKeysOf(browser.disk).length === 1);
    const full = new Error("The disk is full");
    Object.defineProperty(browser.disk.failures, "save", {
      get() {
        // The first action that fails adds something; deleting needs no room.
        if (canDelete) delete browser.disk.failures.save;
        return full;
      },
      configurable: true,
    });
    browser.goOnline();
    assert.equal(await result, canDelete ? "written" : "unknown");
    await within(tab.handle.merge({ title: "Without" }));
    tab.vanish();
    delete browser.disk.failures.save;
    const next = browser.open();
    await until(() => !next.handle.isStale);
    await next.settled();
    const { items, title } = await browser.board.get();
    assert.deepEqual([items.length, title], [3, "Without"], "twice, or lost");
  }
});

Deno.test("ClientOptions.storage keeps no more than maxBytes, and says so once", async () => {
  await using browser = await startBrowser();
  browser.disk.maxBytes = 4_000;
  const tab = browser.open();
  await tab.ready();
  await browser.goOffline();
  const long = "x".repeat(500);
  const writes = Array.from(
    { length: 8 },
    (_, n) => tab.client.mutate("add", `${n}${long}`),
  );
  await until(() =>
    tab.errors.length > 0 && writeKeysOf(browser.disk).length > 0
  );
  assert.deepEqual(tab.errors.map(({ code }) => code), ["limit"]);
  const kept = writeKeysOf(browser.disk).length;
  assert.ok(kept > 0 && kept < 8, `${kept} kept`);
  const bytes = [...browser.disk.records].reduce(
    (sum, [key, text]) => sum + 2 * (key.length + text.length),
    0,
  );
  assert.ok(bytes <= 4_000, `${bytes} bytes`);
  browser.goOnline();
  await within(Promise.all(writes));
  assert.equal((await browser.board.get()).items.length, 10, "all are sent");
  assert.equal(tab.errors.length, 2, "the state is too big by now");
  await until(() => writeKeysOf(browser.disk).length === 0);
  assert.equal(browser.disk.records.has("state:Board"), false);
});

Deno.test("ClientOptions.storage drops records that it cannot read, with those that rest on them", async () => {
  await using browser = await startBrowser();
  const first = browser.open();
  await first.ready();
  await browser.goOffline();
  for (const id of ["c", "d", "e"]) {
    first.handle.update(push(id)).catch(() => {});
  }
  await until(() => writeKeysOf(browser.disk).length === 3);
  first.vanish();
  const [, key] = writeKeysOf(browser.disk);
  const record = JSON.parse(browser.disk.records.get(key!)!);
  browser.disk.records.set(key!, JSON.stringify({ ...record, format: 99 }));
  browser.disk.records.set("state:Odd", '{"format":1,"state":[]}');
  browser.disk.records.set("odd", "no JSON");
  browser.goOnline();
  const second = browser.open();
  await second.ready();
  await until(() => !second.handle.isStale);
  await second.settled();
  assert.deepEqual(second.errors.map(({ code }) => code), ["unknown"]);
  assert.deepEqual(idsOf(await browser.board.get()), ["a", "b", "c"]);
  await until(() => writeKeysOf(browser.disk).length === 0);
  assert.equal(browser.disk.records.has("odd"), false);
  assert.equal(browser.disk.records.has("state:Odd"), false);
});

Deno.test("ClientOptions.storage tells when a session is over: what was sent in it is not sent again", async () => {
  await using browser = await startBrowser();
  const first = browser.open();
  await first.ready();
  browser.proxy.stall();
  first.client.mutate("add", "sent").catch(() => {});
  await until(async () => (await browser.board.get()).items.length === 3);
  await browser.goOffline();
  first.client.mutate("add", "unsent").catch(() => {});
  await until(() => writeKeysOf(browser.disk).length === 2);
  first.vanish();
  const session = JSON.parse(browser.disk.records.get("session")!);
  browser.disk.records.set(
    "session",
    JSON.stringify({ ...session, token: "of.another.server.x" }),
  );
  browser.proxy.resume();
  browser.goOnline();
  const second = browser.open();
  await until(() => !second.handle.isStale);
  await second.settled();
  assert.deepEqual(second.errors.map(({ code, outcome }) => [code, outcome]), [[
    "unknown",
    "unknown",
  ]]);
  assert.deepEqual(idsOf(await browser.board.get()), [
    "a",
    "b",
    "sent",
    "unsent",
  ]);
});

Deno.test("ClientOptions.storage keeps 1,000 writes that are made one by one, and 1,000 at once", async () => {
  await using browser = await startBrowser();
  browser.disk.maxBytes = 2 ** 23;
  const first = browser.open();
  await first.ready();
  await browser.goOffline();
  const before = performance.now();
  for (let n = 0; n < 1_000; n++) {
    first.client.mutate("add", `one ${n}`).catch(() => {});
    await Promise.resolve();
  }
  for (let n = 0; n < 1_000; n++) {
    first.client.mutate("add", `all ${n}`).catch(() => {});
  }
  await until(() => writeKeysOf(browser.disk).length === 2_000);
  assert.ok(performance.now() - before < 10_000, "kept in time");
  first.vanish();
  const second = browser.open();
  await second.ready();
  assert.equal(second.client.unackedCount, 2_000);
  assert.equal(second.handle.getState()?.items.length, 2_002);
  browser.goOnline();
  await until(() => second.client.unackedCount === 0, { ms: 30_000 });
  assert.deepEqual(
    await browser.board.get(),
    second.handle.getServerState(),
  );
  assert.equal((await browser.board.get()).items.length, 2_002);
  const ids = idsOf(await browser.board.get())!;
  assert.deepEqual(
    ids.slice(2, 1_002),
    Array.from({ length: 1_000 }, (_, n) => `one ${n}`),
  );
});

/** Fails to compile if a storage needs more than the port says. */
const _port: (page: MemoryPage) => ClientStorage = (page) => page;
