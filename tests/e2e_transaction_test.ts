/** Transactions as clients see them, on one server and on another: never a half. */
import assert from "node:assert/strict";
import { openDenoKv } from "../adapters/deno_kv.ts";
import type { Client } from "../client/mod.ts";
import type { DownFrame } from "../protocol/frames.ts";
import { applyPatch } from "../protocol/patch.ts";
import type { Json } from "../protocol/value.ts";
import type { Limits, Server, StaticStore } from "../server/mod.ts";
import {
  callValue,
  connectClient,
  rawSubscribe,
  type RunningApp,
  startApp,
} from "./_app.ts";
import { RawClient, startProxy, tempKvPath, until } from "./_harness.ts";
import { FaultyKv, Gate, type Read } from "./_kv_faults.ts";

/** An account; `pad` makes what is written large. */
interface Account {
  amount: number;
  pad: string;
}

const TOTAL = 1_000;
const NAMES = ["Account:x", "Account:y", "Bank"];

function accountsOf(server: Server): StaticStore<Account>[] {
  return NAMES.map((name) => server.store<Account>(name)!); // defined below
}

/** Defines accounts whose sum is always the same, and the function that moves between them. */
function defineBank(server: Server): void {
  server.createStore("Account:*", { amount: 0, pad: "" });
  server.createStore("Bank", { amount: TOTAL, pad: "" });
  server.handle(
    "move",
    async ({ amount, bytes = 0 }: { amount: number; bytes?: number }) => {
      const written = await move(server, amount, bytes);
      return written.map(({ value }) => value ?? null);
    },
  );
}

/** Takes from the bank for both others. */
async function move(server: Server, amount: number, bytes = 0) {
  const [x, y, bank] = accountsOf(server) as [
    StaticStore<Account>,
    StaticStore<Account>,
    StaticStore<Account>,
  ];
  const change = (by: number) => (draft: Account) => {
    draft.pad = "".padEnd(bytes, `${draft.amount} `);
    return draft.amount += by;
  };
  return await server.transaction((tx) => {
    tx(bank).update(change(-2 * amount));
    tx(x).update(change(amount));
    tx(y).update(change(amount));
  });
}

async function startBank(
  kv: string,
  limits: Partial<Limits> = {},
): Promise<RunningApp> {
  return await startApp({ kv, define: defineBank, limits });
}

/** Follows all accounts; every time that anything changes the sum is noted. */
async function watchSums(client: Client): Promise<{ sums: number[] }> {
  const sums: number[] = [];
  const note = () => {
    const amounts = handles.map((handle) => handle.getState()?.amount);
    if (amounts.every((amount) => amount !== undefined)) {
      sums.push(
        amounts.reduce((sum: number, amount) => sum + (amount ?? 0), 0),
      );
    }
  };
  const handles: {
    getState(): Account | undefined;
    ready(): Promise<unknown>;
  }[] = [];
  for (const name of NAMES) {
    handles.push(client.subscribe<Account>(name, () => note()));
  }
  await Promise.all(handles.map((handle) => handle.ready()));
  return { sums };
}

/** Matches what reads a store's head. */
function isHeadOf(name: string): (read: Read) => boolean {
  return ({ key }) => key[1] === "head" && key[3] === name;
}

/** Applies a raw client's messages, and returns the sums after each in which all accounts are known. */
function sumsOf(client: RawClient): number[] {
  const states = new Map<number, Json>();
  const sums: number[] = [];
  for (const { frames } of client.messages) {
    for (const frame of frames) applyFrame(states, frame);
    if (states.size < NAMES.length) continue;
    let sum = 0;
    for (const state of states.values()) {
      sum += (state as unknown as Account).amount; // that is what is stored
    }
    sums.push(sum);
  }
  return sums;
}

function applyFrame(states: Map<number, Json>, frame: DownFrame): void {
  if (frame.type === "snap") states.set(frame.store, frame.state);
  if (frame.type === "patch") {
    states.set(frame.store, applyPatch(states.get(frame.store)!, frame.patch)); // after its snapshot
  }
}

for (const bytes of [0, 20_000]) {
  const what = bytes ? "that are too large for the feed" : "that are small";
  Deno.test(`clients of two servers never see a half of transactions ${what}`, async () => {
    await using kv = await tempKvPath();
    await using first = await startBank(kv.path);
    await using second = await startBank(kv.path);
    using here = connectClient(first.port);
    using there = connectClient(second.port);
    const seen = [await watchSums(here), await watchSums(there)];
    await Promise.all([here, there].map(async (client) => {
      for (let n = 0; n < 25; n++) {
        await client.call("move", { amount: 1, bytes });
      }
    }));
    const [, , bank] = accountsOf(second.server);
    await until(async () => (await bank?.get())?.amount === TOTAL - 100);
    await until(() => bank?.peek()?.amount === TOTAL - 100);
    for (const { sums } of seen) {
      assert.ok(sums.length >= 3 * 10, `only ${sums.length} changes`);
      assert.deepEqual([...new Set(sums)], [TOTAL]);
    }
  });
}

Deno.test("a transaction is one message to each connection, also from another server", async () => {
  await using kv = await tempKvPath();
  await using first = await startBank(kv.path);
  await using second = await startBank(kv.path);
  await using clients = new AsyncDisposableStack();
  const raw: RawClient[] = [];
  for (const { port } of [first, second]) {
    const client = clients.use(await RawClient.connect(port));
    await client.hello();
    for (const name of NAMES) await rawSubscribe(client, name);
    raw.push(client);
  }
  for (let n = 1; n <= 10; n++) {
    const before = raw.map(({ messages }) => messages.length);
    await move(first.server, 1);
    for (const [index, client] of raw.entries()) {
      const message = await until(() => client.messages[before[index]!]); // of each
      assert.deepEqual(
        message.frames.map(({ type }) => type),
        ["patch", "patch", "patch"],
      );
    }
  }
});

Deno.test("a transaction of a call is in the message of its answer", async () => {
  await using kv = await tempKvPath();
  await using app = await startBank(kv.path);
  await using client = await RawClient.connect(app.port);
  await client.hello();
  for (const name of NAMES) await rawSubscribe(client, name);
  assert.deepEqual(await callValue(client, 1, "move", { amount: 3 }), [
    994,
    3,
    3,
  ]);
  const last = client.messages.at(-1);
  assert.deepEqual(
    last?.frames.map(({ type }) => type),
    ["patch", "patch", "patch", "res"],
  );
});

Deno.test("a transaction is one message to those who see a view of its stores", async () => {
  await using kv = await tempKvPath();
  const define = (server: Server) => {
    server.createStore("Secret", { amount: 5, pin: "1234" }, {
      view: ({ amount }) => ({ amount }),
    });
    server.createStore("Open", { amount: 5 });
  };
  await using first = await startApp({ kv: kv.path, define });
  await using second = await startApp({ kv: kv.path, define });
  await using clients = new AsyncDisposableStack();
  for (const { port } of [first, second]) {
    const client = clients.use(await RawClient.connect(port));
    await client.hello();
    for (const name of ["Secret", "Open"]) await rawSubscribe(client, name);
    const before = client.messages.length;
    await first.server.transaction((tx) => {
      for (const name of ["Secret", "Open"]) {
        const store = first.server.store<{ amount: number }>(name)!; // defined
        tx(store).update((draft) => void draft.amount++);
      }
    });
    const message = await until(() => client.messages[before]);
    assert.deepEqual(
      message.frames.map(({ type }) => type),
      ["patch", "patch"],
    );
  }
});

Deno.test("who subscribes to one store of a transaction waits until the server has the others, too", async () => {
  await using kv = await tempKvPath();
  await using first = await startBank(kv.path);
  const opened = await openDenoKv(kv.path);
  const faulty = new FaultyKv(opened.kv);
  {
    await using second = await startApp({ kv: faulty, define: defineBank });
    await Promise.all(accountsOf(first.server).map((store) => store.init()));
    await Promise.all(accountsOf(second.server).map((store) => store.init()));
    faulty.beforeRead(() => {
      throw new Error("no feeds");
    }, { match: ({ key }) => key[1] === "feed", times: 1_000_000 });
    const gate = new Gate();
    faulty.beforeRead(gate.pass, { match: isHeadOf("Account:y"), times: 100 });
    await move(first.server, 1);
    const [x, y, bank] = accountsOf(second.server);
    // Its conflict tells the second server of what became of one of them.
    await x!.update((draft) => void (draft.pad = "z")); // there are three
    await gate.reached;
    await using client = await RawClient.connect(second.port);
    await client.hello();
    client.send({ type: "sub", name: "Account:x" });
    for (let n = 1; n <= 3; n++) await callValue(client, n, "echo", "a");
    assert.equal(client.frames.some(({ type }) => type === "snap"), false);
    assert.deepEqual([x!.peek()?.amount, y!.peek()?.amount], [1, 0]); // as above
    gate.open();
    const snap = await client.next("snap");
    assert.deepEqual(snap.state, { amount: 1, pad: "z" });
    assert.deepEqual([y!.peek()?.amount, bank!.peek()?.amount], [1, 998]); // as above
  }
  await opened.close();
});

Deno.test("a transaction waits for a subscription of the same client that is being answered", async () => {
  await using kv = await tempKvPath();
  const opened = await openDenoKv(kv.path);
  const faulty = new FaultyKv(opened.kv);
  {
    await using app = await startApp({ kv: faulty, define: defineBank });
    await using client = await RawClient.connect(app.port);
    await client.hello();
    await move(app.server, 1);
    await rawSubscribe(client, "Account:x");
    const { epoch, version, writer } = await rawSubscribe(client, "Account:y");
    client.send({ type: "unsub", name: "Account:y" });
    // More than is kept in memory: what it has missed is read from the log.
    const [, y] = accountsOf(app.server);
    for (let n = 0; n < 8; n++) {
      await y!.update((draft) => void (draft.pad = `${n}`.padEnd(60_000))); // there are three
    }
    const gate = new Gate();
    faulty.beforeRead(gate.pass, { match: isHeadOf("Account:y") });
    const token = { epoch, version, writer };
    client.send({ type: "sub", name: "Account:y", token });
    await gate.reached;
    const before = client.messages.length;
    await move(app.server, 1);
    for (let n = 1; n <= 3; n++) await callValue(client, n, "echo", "a");
    const types = client.messages.slice(before).flatMap(({ frames }) =>
      frames.map(({ type }) => type)
    );
    assert.deepEqual(types, ["res", "res", "res"]);
    gate.open();
    await client.next("resume");
    const message = client.messages.find(({ frames }) =>
      frames.some(({ type }) => type === "resume")
    );
    assert.deepEqual(
      message?.frames.map(({ type }) => type).toSorted(),
      ["patch", "patch", "resume"],
    );
  }
  await opened.close();
});

Deno.test("a client that was too slow gets what transactions made of all their stores at once", async () => {
  await using kv = await tempKvPath();
  // Less than what is to be sent of all of them.
  await using app = await startBank(kv.path, { outboxBytes: 96 * 1024 });
  await using proxy = await startProxy(app.port);
  await using client = await RawClient.connect(proxy.port);
  await client.hello();
  for (const name of NAMES) await rawSubscribe(client, name);
  using _ = { [Symbol.dispose]: () => proxy.resume() };
  let moved = 0;
  for (let round = 0; round < 3; round++) {
    proxy.stall();
    // More than systems buffer.
    for (let n = 0; n < 60; n++) {
      await move(app.server, 1, 60_000);
      moved += 2;
    }
    proxy.resume();
    const amount = TOTAL - moved;
    await until(() => {
      const states = new Map<number, Json>();
      for (const frame of client.frames) applyFrame(states, frame);
      return [...states.values()].some((state) =>
        (state as unknown as Account).amount === amount
      );
    }, { ms: 20_000, describe: () => `the bank has ${amount}` });
  }
  await until(() => sumsOf(client).at(-1) === TOTAL);
  assert.deepEqual([...new Set(sumsOf(client))], [TOTAL]);
  assert.ok(client.messages.length < 3 * 60, "it was never slow");
});

Deno.test("clients that subscribe while transactions go on never see a half", async () => {
  await using kv = await tempKvPath();
  await using first = await startBank(kv.path);
  await using second = await startBank(kv.path);
  await using clients = new AsyncDisposableStack();
  let isOver = false;
  let moves = 0;
  const moving = (async () => {
    while (!isOver) {
      await move([first, second][moves++ % 2]!.server, 1); // one of two
    }
  })();
  try {
    for (let n = 0; n < 12; n++) {
      const client = clients.use(
        await RawClient.connect([first, second][n % 2]!.port), // one of two
      );
      await client.hello();
      for (const name of NAMES) client.send({ type: "sub", name });
      const from = moves;
      await until(() =>
        moves > from + 5 &&
        sumsOf(client).filter((sum) => sum === TOTAL).length > 5
      );
      // Its snapshots come one by one, but none without what the others show already.
      assert.deepEqual([...new Set(sumsOf(client))], [TOTAL], `client ${n}`);
    }
  } finally {
    isOver = true;
    await moving;
  }
});

Deno.test("a transaction is whole for those who subscribe to many stores of which a transaction changes two", async () => {
  await using kv = await tempKvPath();
  await using app = await startBank(kv.path);
  using client = connectClient(app.port);
  const { sums } = await watchSums(client);
  const others = Array.from(
    { length: 20 },
    (_, n) => client.subscribe<Account>(`Account:${n}`),
  );
  await Promise.all(others.map((handle) => handle.ready()));
  const dynamic = app.server.store<Account>("Account:7")!; // defined
  await Promise.all([
    ...Array.from({ length: 20 }, () => move(app.server, 1)),
    ...Array.from({ length: 20 }, () => dynamic.update((d) => d.amount++)),
  ]);
  await until(() => others[7]?.getState()?.amount === 20);
  assert.deepEqual([...new Set(sums)], [TOTAL]);
  await client.call("move", { amount: 1 });
  assert.equal(
    client.subscribe<Account>("Bank").getState()?.amount,
    TOTAL - 42,
  );
});
