/** Events over real sockets: to whom, in which order, how often, with several servers over one KV. */
import assert from "node:assert/strict";
import { openDenoKv } from "../adapters/deno_kv.ts";
import type { Client, ClientOptions } from "../client/mod.ts";
import { createServer, type Server } from "../server/mod.ts";
import { connectClient, rawCall, type RunningApp, startApp } from "./_app.ts";
import { RawClient, tempKvPath, until } from "./_harness.ts";
import {
  FaultyKv,
  Gate,
  lockedAfter,
  readOf,
  throwsAfter,
  throwsBefore,
  writes,
} from "./_kv_faults.ts";

/** Collects what comes on a channel. */
function hear<T = number>(client: Client, channel = "tick"): T[] {
  const heard: T[] = [];
  client.on<T>(channel, (data) => void heard.push(data));
  return heard;
}

async function ready(...clients: Client[]): Promise<void> {
  await Promise.all(clients.map((client) => client.ready()));
}

function numbers(count: number, from = 1): number[] {
  return Array.from({ length: count }, (_, n) => n + from);
}

/** A client of several servers, which goes to the next when it is told to. */
function wanderer(ports: readonly number[]) {
  let sockets = 0;
  let current: WebSocket | undefined;
  const Wandering = class extends WebSocket {
    constructor(_: string | URL, protocols?: string | string[]) {
      super(`ws://127.0.0.1:${ports[sockets % ports.length]}`, protocols);
      sockets++;
      current = this;
    }
  };
  // The client's type of a socket knows less of it than the runtime's.
  const options: ClientOptions = { WebSocket: Wandering };
  return {
    client: connectClient(ports[0] ?? 0, options),
    move: () => current?.close(),
  };
}

Deno.test("emit() reaches the clients of every server, each event once and in order", async () => {
  await using kv = await tempKvPath();
  await using a = await startApp({ kv: kv.path });
  await using b = await startApp({ kv: kv.path });
  using here = connectClient(a.port);
  using there = connectClient(b.port);
  const heard = [here, there].map((client) => hear(client));
  await ready(here, there);
  for (const n of numbers(500)) {
    a.server.emit("tick", n);
    // Some in one slot, some in one each.
    if (n % 50 === 0) await until(() => heard[1]!.length >= n - 20);
  }
  await until(() => heard.every(({ length }) => length === 500));
  for (const list of heard) assert.deepEqual(list, numbers(500));
  b.server.emit("tick", 501);
  await until(() => heard.every(({ length }) => length === 501));
  assert.deepEqual(heard[0], numbers(501));
});

Deno.test("emit() keeps the order of each of two servers that send at once", async () => {
  await using kv = await tempKvPath();
  await using a = await startApp({ kv: kv.path });
  await using b = await startApp({ kv: kv.path });
  using client = connectClient(b.port);
  const heard = hear<[string, number]>(client);
  await ready(client);
  for (const n of numbers(300)) {
    a.server.emit("tick", ["a", n]);
    b.server.emit("tick", ["b", n]);
    if (n % 25 === 0) await new Promise((resolve) => setTimeout(resolve));
  }
  await until(() => heard.length === 600);
  for (const sender of ["a", "b"]) {
    const own = heard.filter(([from]) => from === sender);
    assert.deepEqual(own.map(([, n]) => n), numbers(300));
  }
});

Deno.test("emit() with a target reaches whom it says, on every server", async () => {
  await using kv = await tempKvPath();
  await using a = await startApp({ kv: kv.path });
  await using b = await startApp({ kv: kv.path });
  await using clients = new DisposableStack();
  const [a1, a2, b1, b2] = [a, a, b, b].map(({ port }) =>
    clients.use(connectClient(port))
  ) as [Client, Client, Client, Client];
  const all = [a1, a2, b1, b2];
  const heard = all.map((client) => hear<string>(client));
  await ready(...all);
  await Promise.all(
    [a2, b2].map((client) => client.subscribe("Entries").ready()),
  );
  const id = (client: Client) => client.clientId ?? "";
  const { server } = a;
  server.emit("tick", "one here", { clientId: id(a1) });
  server.emit("tick", "one there", { clientId: id(b1) });
  server.emit("tick", "nobody", { clientId: "nobody" });
  server.emit("tick", "nobody", { userId: 7 });
  server.emit("tick", "followers", { store: "Entries" });
  server.emit("tick", "b2 if it follows", {
    store: "Entries",
    clientId: id(b2),
  });
  server.emit("tick", "a1 if it follows", {
    store: "Entries",
    clientId: id(a1),
  });
  server.emit("tick", "all but b2", { except: id(b2) });
  server.emit("tick", "all but two", { except: [id(a1), id(b1)] });
  server.emit("tick", "end");
  await until(() => heard.every((list) => list.at(-1) === "end"));
  assert.deepEqual(heard, [
    ["one here", "all but b2", "end"],
    ["followers", "all but b2", "all but two", "end"],
    ["one there", "all but b2", "end"],
    ["followers", "b2 if it follows", "all but two", "end"],
  ]);
});

Deno.test("emit() to a store's subscribers follows them: not before, not after", async () => {
  await using app = await startApp();
  using client = connectClient(app.port);
  const heard = hear<string>(client);
  await ready(client);
  const round = async (what: string) => {
    app.server.emit("tick", what, { store: "Entries" });
    await client.call("echo");
  };
  await round("before");
  const handle = client.subscribe("Entries");
  await handle.ready();
  await round("during");
  handle.unsubscribe();
  await client.call("echo");
  await round("after");
  await client.subscribe("Entries").ready();
  await round("again");
  await app.entries.delete();
  await round("deleted");
  assert.deepEqual(heard, ["during", "again"]);
});

Deno.test("emit() to a client that is connected here writes nothing to the KV", async () => {
  await using kv = await tempKvPath();
  const opened = await openDenoKv(kv.path);
  const faulty = new FaultyKv(opened.kv);
  {
    await using app = await startApp({ kv: faulty });
    using client = connectClient(app.port);
    const heard = hear(client);
    await ready(client);
    faulty.commits.length = 0;
    for (const n of numbers(50)) {
      app.server.emit("tick", n, { clientId: client.clientId ?? "" });
    }
    await until(() => heard.length === 50);
    assert.equal(faulty.commits.length, 0);
    app.server.emit("tick", 51);
    await until(() => heard.length === 51);
    await until(() => faulty.commits.filter(writes("slot")).length === 1);
  }
  await opened.close();
});

Deno.test("emit() writes the events of one tick in one atomic, and keeps them shortly", async () => {
  await using kv = await tempKvPath();
  const opened = await openDenoKv(kv.path);
  const faulty = new FaultyKv(opened.kv);
  {
    await using app = await startApp({ kv: faulty });
    for (const n of numbers(900)) app.server.emit("tick", n);
    await app.server.close();
    const slots = faulty.commits.filter(writes("slot"));
    assert.equal(slots.length, 1);
    const expiries = slots.flatMap(({ sets }) =>
      sets.map(({ key, expireIn }) => [key[1], expireIn])
    );
    assert.deepEqual(expiries, [["slot", 60_000], ["feed", 600_000]]);
  }
  await opened.close();
});

/** Two servers over one file, of which the second one's reading can be stopped. */
async function withStalledReader(
  test: (parts: {
    a: RunningApp;
    b: RunningApp;
    slow: FaultyKv;
  }) => Promise<void>,
): Promise<void> {
  await using kv = await tempKvPath();
  const opened = await openDenoKv(kv.path);
  const slow = new FaultyKv(opened.kv);
  {
    await using a = await startApp({ kv: kv.path });
    await using b = await startApp({ kv: slow });
    await test({ a, b, slow });
  }
  await opened.close();
}

Deno.test("a client that moves to a server whose feed stalls gets each event once, in order", async () => {
  await withStalledReader(async ({ a, b, slow }) => {
    const { client, move } = wanderer([a.port, b.port]);
    using _ = client;
    const heard = hear(client);
    await ready(client);
    const gate = new Gate();
    slow.beforeRead(gate.pass, { match: readOf("slot", "list") });
    for (const n of numbers(5)) a.server.emit("tick", n);
    await until(() => heard.length === 5);
    await gate.reached;
    const moved = Promise.withResolvers<void>();
    client.on("connected", () => moved.resolve());
    move();
    await moved.promise;
    assert.equal((await b.server.health())["connections"], 1);
    // What it has had waits there still, and what it has not.
    for (const n of numbers(5, 6)) a.server.emit("tick", n);
    gate.open();
    await until(() => heard.length >= 10);
    const ends = hear(client, "end");
    b.server.emit("end", 1);
    await until(() => ends.length === 1);
    assert.deepEqual(heard, numbers(10));
  });
});

Deno.test("a read of the feed that fails half-way leads to no event twice", async () => {
  await withStalledReader(async ({ a, b, slow }) => {
    await using raw = await RawClient.connect(b.port);
    await raw.hello();
    const gate = new Gate();
    slow.beforeRead(gate.pass, { match: readOf("feed", "list") });
    a.server.emit("tick", 0);
    await gate.reached;
    for (const n of numbers(3)) {
      a.server.emit("tick", n);
      // One slot for each.
      await until(async () => {
        let slots = 0;
        for await (const _ of slow.list({ prefix: ["hw", "slot"] })) slots++;
        return slots === n + 1;
      });
    }
    slow.beforeEntry(() => {
      throw new Error("connection reset");
    }, { match: (key) => key[1] === "slot" && key[3] === 3 });
    gate.open();
    const ticks = () =>
      raw.frames.flatMap((frame) => frame.type === "evt" ? frame.data : []);
    await until(() => ticks().includes(3), { ms: 10_000 });
    // Frame by frame: here no client passes over what it has had.
    assert.deepEqual(ticks(), [0, 1, 2, 3]);
  });
});

for (
  const [name, fault] of [
    ["took effect and threw", throwsAfter],
    ["took effect and found the database locked", lockedAfter],
    ["failed", throwsBefore],
  ] as const
) {
  Deno.test(`a commit of events that ${name} leads to each of them once`, async () => {
    await using kv = await tempKvPath();
    const opened = await openDenoKv(kv.path);
    const faulty = new FaultyKv(opened.kv);
    {
      await using a = await startApp({ kv: faulty });
      await using b = await startApp({ kv: kv.path });
      await using raw = await RawClient.connect(b.port);
      await raw.hello();
      faulty.onCommit(fault, { match: writes("slot"), times: 2 });
      for (const n of numbers(3)) a.server.emit("tick", n);
      const ticks = () =>
        raw.frames.flatMap((frame) => frame.type === "evt" ? frame.data : []);
      await until(() => ticks().includes(3));
      a.server.emit("tick", 4);
      await until(() => ticks().includes(4));
      assert.deepEqual(ticks(), numbers(4));
    }
    await opened.close();
  });
}

Deno.test("events that cannot be handed over in time are lost, told once, and do not stop later ones", async () => {
  await using kv = await tempKvPath();
  const opened = await openDenoKv(kv.path);
  const faulty = new FaultyKv(opened.kv);
  {
    await using a = await startApp({ kv: faulty, limits: { commitMs: 50 } });
    await using b = await startApp({ kv: kv.path });
    using here = connectClient(a.port);
    using there = connectClient(b.port);
    const [near, far] = [hear(here), hear(there)];
    await ready(here, there);
    const errors: string[] = [];
    a.server.on("error", ({ message }) => void errors.push(message));
    // The feed is read, too, while it fails.
    faulty.onCommit(throwsBefore, { match: writes("slot"), times: 1_000 });
    a.server.emit("tick", 1);
    await until(() => errors.includes("connection reset"));
    faulty.onCommit((run) => run(), { match: writes("slot"), times: 1_000 });
    a.server.emit("tick", 2);
    await until(() => errors.length > 0 && near.length === 2);
    assert.deepEqual(near, [1, 2]);
    assert.equal(far.includes(1), false);
  }
  await opened.close();
});

Deno.test("with `sync: false` an event stays on its server", async () => {
  await using kv = await tempKvPath();
  const opened = await openDenoKv(kv.path);
  const faulty = new FaultyKv(opened.kv);
  {
    await using a = await startApp({ kv: faulty, sync: false });
    await using b = await startApp({ kv: kv.path });
    using here = connectClient(a.port);
    using there = connectClient(b.port);
    const [near, far] = [hear(here), hear(there)];
    await ready(here, there);
    faulty.commits.length = 0;
    a.server.emit("tick", 1);
    b.server.emit("tick", 2);
    await until(() => near.length === 1 && far.length === 1);
    assert.deepEqual([near, far], [[1], [2]]);
    assert.deepEqual(faulty.commits, []);
  }
  await opened.close();
});

Deno.test("an event that is sent right before the end reaches the other servers", async () => {
  await using kv = await tempKvPath();
  await using b = await startApp({ kv: kv.path });
  using client = connectClient(b.port);
  const heard = hear<string>(client);
  await ready(client);
  {
    // One that neither listens nor has a store.
    await using worker = createServer({ kv: kv.path });
    worker.emit("tick", "from a worker");
  }
  await until(() => heard.length === 1);
  assert.deepEqual(heard, ["from a worker"]);
});

Deno.test("a call that is run again by another server sends its events no second time", async () => {
  await using kv = await tempKvPath();
  let runs = 0;
  const define = (server: Server) =>
    server.handle("announce", () => {
      runs++;
      server.emit("tick", "announced");
      return "done";
    });
  await using a = await startApp({ kv: kv.path, define });
  await using b = await startApp({ kv: kv.path, define });
  using listener = connectClient(b.port);
  const heard = hear<string>(listener);
  await ready(listener);
  await using caller = await RawClient.connect(a.port);
  const { session } = await caller.hello();
  await rawCall(caller, 1, { name: "announce" });
  await until(() => heard.length === 1);
  await using again = await RawClient.connect(b.port);
  await again.hello({ session });
  const { value } = await rawCall(again, 1, { name: "announce", resent: true });
  assert.equal(value, "done");
  assert.equal(runs, 2);
  b.server.emit("tick", "end");
  await until(() => heard.at(-1) === "end");
  assert.deepEqual(heard, ["announced", "end"]);
});

Deno.test("an event has any JSON value, or none, and refusals name what is wrong", async () => {
  await using app = await startApp();
  using client = connectClient(app.port);
  const heard = hear<unknown>(client);
  await ready(client);
  const { server } = app;
  const values = [{ deep: [1, null, "x"] }, null, false, 0, ""];
  for (const value of values) server.emit("tick", value);
  server.emit("tick");
  await until(() => heard.length === values.length + 1);
  assert.deepEqual(heard, [...values, undefined]);
  const refused = (run: () => void) => {
    try {
      run();
    } catch (error) {
      assert.ok(error instanceof Error);
      return "code" in error ? error.code : error.name;
    }
    return "taken";
  };
  const big = "x".repeat(32 * 1024);
  assert.deepEqual([
    refused(() => server.emit("", 1)),
    refused(() => server.emit("tick", new Date())),
    refused(() => server.emit("tick", big)),
    refused(() => server.emit("connected", 1)),
    refused(() => server.emit("tick", 1, { clientId: undefined } as object)),
    refused(() => server.emit("tick", 1, { room: "x" } as object)),
    refused(() => server.emit("tick", 1, { store: "" })),
  ], [
    "bad_name",
    "bad_value",
    "limit",
    "TypeError",
    "TypeError",
    "TypeError",
    "bad_name",
  ]);
  await client.call("echo");
  assert.equal(heard.length, values.length + 1);
});
