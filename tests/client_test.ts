import assert from "node:assert/strict";
import { createClient, defineApp, HeadwaterError } from "../client/mod.ts";
import { FakeClock, settle } from "./_fake_clock.ts";
import {
  FakeNetwork,
  idleClient,
  nextSocket,
  openClient,
  redial,
  REFUSES,
  snap,
  WELCOMES,
} from "./_fake_socket.ts";
import { freshProcess } from "./_fresh_process.ts";
import { within } from "./_waiting.ts";

Deno.test("createClient() connects at once where it gets a URL, and later otherwise", () => {
  const network = new FakeNetwork();
  const { WebSocket } = network;
  using idle = createClient(undefined, { WebSocket });
  assert.equal(idle.status, "idle");
  assert.equal(network.sockets.length, 0);
  idle.connect("ws://test/later");
  using eager = createClient(new URL("ws://test/now"), { WebSocket });
  assert.deepEqual([idle.status, eager.status], ["connecting", "connecting"]);
  assert.deepEqual(network.sockets.map(({ url }) => url), [
    "ws://test/later",
    "ws://test/now",
  ]);
});

Deno.test("connect() makes http URLs to those of sockets, and drops fragments", () => {
  for (
    const [given, expected] of [
      ["http://test:4400", "ws://test:4400/"],
      ["https://test/path?x=1#part", "wss://test/path?x=1"],
      ["ws://test", "ws://test/"],
      ["wss://test/", "wss://test/"],
    ] as const
  ) {
    const { client, network } = idleClient();
    client.connect(given);
    assert.equal(network.socket.url, expected);
    client.destroy();
  }
});

Deno.test("connect() refuses what no socket can be opened to", () => {
  const { client, network } = idleClient();
  for (const url of ["nowhere", "", "ftp://test", "file:///etc"]) {
    assert.throws(() => client.connect(url), TypeError);
  }
  assert.equal(client.status, "idle");
  client.connect("ws://test/");
  client.connect("http://test");
  assert.throws(
    () => client.connect("ws://other/"),
    /connected to ws:\/\/test\//,
  );
  assert.equal(network.sockets.length, 1);
  client.destroy();
  assert.throws(() => client.connect("ws://test/"), { code: "closed" });
});

Deno.test("connect() says what is missing where the runtime has no WebSocket", () => {
  const native = globalThis.WebSocket;
  try {
    Reflect.deleteProperty(globalThis, "WebSocket");
    assert.throws(
      () => createClient("ws://test/"),
      /give one as the option "WebSocket"/,
    );
  } finally {
    globalThis.WebSocket = native;
  }
});

Deno.test("createClient(), call() and writes refuse options that there are not, and name those that there are", async () => {
  assert.throws(
    () => createClient(undefined, { reconect: false } as never),
    {
      name: "TypeError",
      message:
        'Cannot make a client: there is no option "reconect"; there are app, token, reconnect, reconnectDelayMs, reconnectMaxMs, rpcTimeoutMs, limits, storage, WebSocket, clock, random, onWake, reportError',
    },
  );
  const { client, socket } = await openClient();
  await assert.rejects(client.call("add", 1, { timeout: 5 } as never), {
    name: "TypeError",
    message:
      'Cannot call "add": there is no option "timeout"; there are signal, store, optimistic',
  });
  const handle = client.subscribe<{ n: number }>("Todos");
  await settle();
  socket.deliver(snap({ state: { n: 1 } }));
  const odd = { polcy: "expectVersion" } as never;
  const message =
    'Cannot write to store "Todos": there is no option "polcy"; there are policy';
  assert.throws(() => handle.merge({ n: 2 }, odd), { message });
  assert.throws(() => handle.set({ n: 2 }, odd), { message });
  assert.throws(() => handle.update(() => {}, odd), { message });
  assert.throws(() => client.batch(() => {}, odd), /batch writes: .*"polcy"/);
  assert.throws(
    () => client.mutate("add", 1, odd),
    /run mutator "add": .*"polcy"; there are store, policy/,
  );
  assert.deepEqual(handle.getState(), { n: 1 });
  assert.equal(client.unackedCount, 0);
  client.destroy();
});

Deno.test("mutate() takes a store and a policy together, for a store that is here and for one that is not", async () => {
  const app = defineApp({
    stores: { "Room:*": { initial: { n: 0 } } },
    mutators: {
      add: { store: "Room:*", run: (room: { n: number }) => void room.n++ },
    },
  });
  const { client, socket } = await openClient({ app });
  const handle = client.subscribe<{ n: number }>("Room:1");
  await settle();
  socket.deliver(snap({ name: "Room:1", state: { n: 0 } }));
  socket.take();
  for (const store of ["Room:1", "Room:2"]) {
    client.mutate("add", undefined, { store, policy: "expectVersion" });
  }
  await settle();
  assert.deepEqual(handle.getState(), { n: 1 });
  assert.deepEqual(
    socket.take().map((frame) =>
      frame.type === "mut" && [frame.writes[0]?.name, frame.exact]
    ),
    [["Room:1", true], ["Room:2", true]],
  );
  client.destroy();
});

Deno.test("createClient() refuses durations that are none", () => {
  for (const option of ["reconnectDelayMs", "reconnectMaxMs", "rpcTimeoutMs"]) {
    for (const ms of [0, -1, NaN]) {
      assert.throws(() => createClient(undefined, { [option]: ms }), {
        name: "TypeError",
        message: RegExp(option),
      });
    }
  }
});

Deno.test("ready() resolves with the welcome, and anew after each loss", async () => {
  const bench = idleClient();
  const { client, network } = bench;
  let isReady = false;
  const ready = client.ready().then(() => isReady = true);
  client.connect("ws://test/");
  network.socket.accept();
  await settle();
  assert.equal(isReady, false);
  assert.deepEqual([client.status, client.clientId], ["connecting", undefined]);
  network.socket.welcome({ clientId: "c1" });
  await ready;
  assert.deepEqual([client.status, client.clientId], ["connected", "c1"]);
  await client.ready();

  network.socket.hangUp(1006);
  let isReadyAgain = false;
  const again = client.ready().then(() => isReadyAgain = true);
  assert.equal(client.status, "reconnecting");
  const socket = await nextSocket(bench);
  assert.deepEqual([client.status, client.clientId, isReadyAgain], [
    "reconnecting",
    "c1",
    false,
  ]);
  socket.welcome({ clientId: "c1" });
  await again;
  assert.equal(client.status, "connected");
});

Deno.test("The client tries again with growing delays, and not faster after a server that crashes at each welcome", async () => {
  const { client, network, clock } = idleClient();
  const delays: number[] = [];
  client.on("reconnecting", ({ delayMs }) => delays.push(delayMs));
  const crashes = (socket: Parameters<typeof WELCOMES>[0]) => {
    WELCOMES(socket);
    socket.hangUp(1011);
  };
  network.script.push(
    REFUSES,
    REFUSES,
    crashes,
    crashes,
    crashes,
    REFUSES,
    WELCOMES,
  );
  client.connect("ws://test/");
  await clock.advance(60_000);
  assert.deepEqual(delays, [750, 1_500, 3_000, 6_000, 7_500, 7_500]);
  assert.equal(client.status, "connected");

  await clock.advance(5_000);
  network.socket.hangUp(1006);
  assert.deepEqual(delays.slice(6), [750], "this one has lived");
  client.destroy();
});

Deno.test("A server that goes away is come back to at a time that chance alone decides", async () => {
  for (
    const [chance, expected] of [[0, 0], [0.25, 500], [0.75, 1_500]] as const
  ) {
    const { client, socket, clock } = await openClient({
      random: () => chance,
    });
    const delays: number[] = [];
    client.on("reconnecting", ({ delayMs }) => delays.push(delayMs));
    await clock.advance(6_000);
    socket.hangUp(1001);
    assert.deepEqual(delays, [expected]);
    client.destroy();
  }
});

for (
  const [code, what] of [[4000, "read"], [4001, "protocol version"], [
    4003,
    "refuses",
  ], [
    4004,
    "larger",
  ]] as const
) {
  Deno.test(`Close code ${code} is final`, async () => {
    const { client, socket, clock, errors, network } = await openClient();
    const handle = client.subscribe("Todos");
    const ready = handle.ready();
    const call = client.call("a");
    await settle();
    socket.hangUp(code, "says the server");
    assert.equal(client.status, "closed");
    await assert.rejects(call, {
      message: "Disconnected",
      code: "disconnected",
      outcome: "unknown",
    });
    await assert.rejects(client.ready(), RegExp(what));
    await assert.rejects(ready, RegExp(what));
    assert.equal(errors.length, 1);
    assert.match(
      errors[0]!.message,
      RegExp(`${what}.*\\(${code}: says the server\\)$`),
    );
    await clock.advance(600_000);
    assert.equal(network.sockets.length, 1);
    assert.equal(clock.pendingTimers, 0);

    client.connect("ws://test/elsewhere");
    assert.equal(client.status, "connecting");
    network.socket.accept();
    network.socket.welcome();
    await client.ready();
    await settle();
    assert.deepEqual(network.socket.frames.slice(1), [{
      type: "sub",
      name: "Todos",
    }]);
    network.socket.deliver(snap({ state: "back" }));
    assert.equal(handle.getState(), "back");
    client.destroy();
  });
}

Deno.test("Without reconnect a loss is the end", async () => {
  const { client, socket, clock, network, errors } = await openClient({
    reconnect: false,
  });
  const log: unknown[] = [];
  client.on("disconnected", (data) => log.push(data));
  client.on("reconnecting", (data) => log.push(data));
  const handle = client.subscribe("Todos");
  const ready = handle.ready();
  socket.hangUp(1001, "bye");
  assert.equal(client.status, "closed");
  await assert.rejects(ready, { message: "Disconnected" });
  await assert.rejects(client.ready(), { message: "Disconnected" });
  await clock.advance(60_000);
  assert.equal(network.sockets.length, 1);
  assert.deepEqual(log, [{ code: 1001, reason: "bye" }]);
  assert.deepEqual(errors, []);
});

Deno.test("The client wakes at once, and asks an open connection for a sign of life", async () => {
  const { client, network, clock, wake, socket } = await openClient();
  wake();
  assert.deepEqual(socket.take(), [{ type: "ping" }]);
  socket.deliver({ type: "pong" });
  await clock.advance(5_000);
  assert.equal(client.status, "connected");
  wake();
  await clock.advance(5_000);
  assert.equal(client.status, "reconnecting");

  assert.equal(network.sockets.length, 1);
  wake();
  assert.equal(network.sockets.length, 2);
  wake(); // it is connecting already
  assert.equal(network.sockets.length, 2);
  network.socket.accept();
  network.socket.welcome();
  assert.equal(client.status, "connected");
  await clock.advance(20_000);
  assert.equal(
    network.sockets.length,
    2,
    "the retry that was waiting is called off",
  );
  client.destroy();
});

Deno.test("A browser's online and visibilitychange wake the client, and destroy() takes the listeners off", async () => {
  const { hostEnvironment } = await import("../client/environment.ts");
  const document = Object.assign(new EventTarget(), {
    visibilityState: "hidden",
  });
  Reflect.set(globalThis, "document", document);
  try {
    let wakes = 0;
    const stop = hostEnvironment().onWake(() => wakes++);
    globalThis.dispatchEvent(new Event("online"));
    document.dispatchEvent(new Event("visibilitychange"));
    assert.equal(wakes, 1, "a page that gets hidden wakes nobody");
    document.visibilityState = "visible";
    document.dispatchEvent(new Event("visibilitychange"));
    assert.equal(wakes, 2);
    stop();
    globalThis.dispatchEvent(new Event("online"));
    document.dispatchEvent(new Event("visibilitychange"));
    assert.equal(wakes, 2);
  } finally {
    Reflect.deleteProperty(globalThis, "document");
  }
});

Deno.test("A socket that cannot be made is an error and is tried again", async () => {
  const { client, network, clock, errors } = idleClient();
  network.failure = new Error("blocked by policy");
  client.connect("ws://test/");
  assert.equal(client.status, "connecting");
  await settle();
  assert.equal(client.status, "reconnecting");
  assert.deepEqual(errors, [network.failure]);
  network.failure = undefined;
  await clock.advance(750);
  network.socket.accept();
  network.socket.welcome();
  assert.equal(client.status, "connected");
});

Deno.test("A message that cannot be decoded costs the connection, not the client", async () => {
  const bench = await openClient();
  const handle = bench.client.subscribe("Todos");
  await settle();
  bench.socket.deliver(snap({ state: 1 }));
  bench.socket.deliverData(new Uint8Array([0xc1]));
  assert.equal(bench.client.status, "reconnecting");
  assert.deepEqual(
    bench.errors.map((error) => (error as HeadwaterError).code),
    ["bad_frame"],
  );
  assert.equal(handle.getState(), 1);
  const socket = await nextSocket(bench);
  socket.welcome();
  await settle();
  assert.deepEqual(socket.frames[1], {
    type: "sub",
    name: "Todos",
    token: { epoch: "e1", version: 1, writer: "w1" },
  });
});

Deno.test("destroy() frees every timer, socket and listener, in every state", async () => {
  const states = {
    idle: () => Promise.resolve(idleClient()),
    connecting: () => {
      const bench = idleClient();
      bench.client.connect("ws://test/");
      return Promise.resolve(bench);
    },
    welcoming: async () => {
      const bench = await states.connecting();
      bench.network.socket.accept();
      return bench;
    },
    connected: () => openClient(),
    waiting: async () => {
      const bench = await openClient();
      bench.socket.hangUp(1006);
      return bench;
    },
    "connected again": async () => {
      const bench = await openClient();
      (await redial(bench)).welcome();
      return bench;
    },
    "final close": async () => {
      const bench = await openClient();
      bench.socket.hangUp(4003);
      return bench;
    },
    "retrying a store": async () => {
      const bench = await openClient();
      bench.client.subscribe("Todos");
      bench.socket.deliver({
        type: "err",
        name: "Todos",
        error: { code: "unavailable", message: "No" },
      });
      return bench;
    },
  };
  for (const [name, make] of Object.entries(states)) {
    const { client, clock, network, wakeListeners } = await make();
    const sockets = network.sockets.length;
    const handle = client.subscribe("Todos");
    const call = client.call("a");
    const log: unknown[] = [];
    for (const channel of ["connected", "reconnecting", "error"] as const) {
      client.on(channel, (data: unknown) => log.push([channel, data]));
    }
    client.destroy();
    client.destroy();
    assert.equal(client.status, "closed", name);
    assert.equal(clock.pendingTimers, 0, `timers after ${name}`);
    assert.equal(wakeListeners(), 0, `wake listeners after ${name}`);
    await assert.rejects(call, { message: "Disconnected", outcome: "notSent" });
    await assert.rejects(handle.ready(), { message: "Disconnected" });
    await assert.rejects(client.ready(), HeadwaterError);
    await assert.rejects(client.subscribe("Other").ready(), {
      message: "Disconnected",
    });
    await clock.advance(600_000);
    assert.equal(network.sockets.length, sockets, name);
    for (const socket of network.sockets) {
      socket.accept();
      socket.welcome();
      socket.deliver(snap({ state: 1 }));
      socket.hangUp(1006);
    }
    await settle();
    assert.deepEqual(log, [], name);
    assert.equal(handle.hasData(), false, name);
    assert.equal(client.unackedCount, 0, name);
  }
});

Deno.test("destroy() within a listener stops those after it, and gives answers that have come", async () => {
  const { client, socket, errors } = await openClient();
  const log: string[] = [];
  const call = client.call("a");
  client.subscribe("A", () => {
    log.push("first");
    client.destroy();
  });
  client.subscribe("A", () => log.push("second"));
  client.on("tick", () => log.push("tick"));
  client.on("disconnected", () => log.push("disconnected"));
  await settle();
  socket.deliver(
    { type: "res", id: 1, value: "answered" },
    snap({ name: "A", state: 0 }),
    { type: "evt", channel: "tick" },
  );
  assert.equal(await call, "answered");
  assert.deepEqual(log, ["first", "disconnected"]);
  assert.deepEqual(errors, []);
});

Deno.test("No rejection of ready(), nor of a call that fails with its connection, is unhandled", async () => {
  const unhandled: string[] = [];
  const record = (event: PromiseRejectionEvent) => {
    event.preventDefault();
    unhandled.push(event.reason.message);
  };
  globalThis.addEventListener("unhandledrejection", record);
  try {
    void Promise.reject(new Error("of the test itself"));
    for (
      const close of [
        "destroy",
        "final",
        "missing",
        "unreadable",
        "deleted",
        "unsubscribe",
        "timeout",
      ]
    ) {
      const { client, socket, clock } = await openClient();
      const handle = client.subscribe("Todos");
      void client.ready();
      void handle.ready();
      void client.call("sent");
      await settle();
      void client.call("queued");
      const code = close === "missing" ? "store_missing" : "store_unreadable";
      if (close === "final") socket.hangUp(4003);
      if (close === "missing" || close === "unreadable") {
        socket.deliver({
          type: "err",
          name: "Todos",
          error: { code, message: "No" },
        });
      }
      if (close === "deleted") socket.deliver({ type: "del", name: "Todos" });
      if (close === "unsubscribe") handle.unsubscribe();
      if (close === "timeout") await clock.advance(10_000);
      void handle.ready();
      void client.ready();
      client.destroy();
      void client.ready();
      void handle.ready();
      void client.subscribe("After").ready();
      void client.call("after");
      await settle();
    }
    await settle();
    assert.deepEqual(unhandled, ["of the test itself"]);
  } finally {
    globalThis.removeEventListener("unhandledrejection", record);
  }
});

Deno.test("createClient() takes any two clients side by side: nothing is shared between them", async () => {
  const a = await openClient();
  const b = await openClient({}, { clientId: "client-2" });
  a.client.subscribe("Todos");
  a.client.on("tick", () => assert.fail("an event of the other"));
  await settle();
  b.socket.deliver({ type: "evt", channel: "tick" }, snap({ state: 1 }));
  assert.deepEqual(b.socket.take(), []);
  assert.deepEqual([a.client.clientId, b.client.clientId], [
    "client-1",
    "client-2",
  ]);
  a.client.destroy();
  assert.equal(b.client.status, "connected");
});

Deno.test("FakeClock runs what is due in order, and what that sets", async () => {
  const clock = new FakeClock(1_000);
  const log: string[] = [];
  const record = (what: string) => log.push(`${what} at ${clock.monotonic()}`);
  clock.setTimer(20, () => record("second"));
  clock.setTimer(10, () => {
    record("first");
    clock.setTimer(5, () => record("nested"));
    queueMicrotask(() => record("microtask"));
  });
  clock.setTimer(20, () => record("third"));
  clock.setTimer(15, () => record("cancelled")).cancel();
  await clock.advance(20);
  assert.deepEqual(log, [
    "first at 10",
    "microtask at 10",
    "nested at 15",
    "second at 20",
    "third at 20",
  ]);
  assert.deepEqual([clock.now(), clock.pendingTimers], [1_020, 0]);
  clock.jump(-500);
  assert.deepEqual([clock.now(), clock.monotonic()], [520, 20]);
});

Deno.test("A process whose clients are destroyed exits by itself", async () => {
  const sockets: WebSocket[] = [];
  await using server = Deno.serve({
    port: 0,
    hostname: "127.0.0.1",
    onListen() {},
  }, (request) => {
    const { socket, response } = Deno.upgradeWebSocket(request, {
      protocol: "headwater.v1",
    });
    sockets.push(socket);
    return response; // it says nothing, ever
  });
  const script = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(
      script,
      `import { createClient } from ${
        JSON.stringify(import.meta.resolve("../client/mod.ts"))
      };
       const silent = createClient("ws://127.0.0.1:${server.addr.port}/");
       const nobody = createClient("ws://127.0.0.1:1/", { reconnectDelayMs: 600_000, reconnectMaxMs: 600_000 });
       for (const client of [silent, nobody]) {
         client.subscribe("Todos");
         client.call("never").catch(() => {});
       }
       await new Promise((resolve) => nobody.on("reconnecting", resolve));
       console.log(silent.status, nobody.status);
       silent.destroy();
       nobody.destroy();`,
    );
    await using process = freshProcess([script]);
    const [line] = await process.line(/^connecting reconnecting$/);
    assert.equal(line, "connecting reconnecting");
    const { code } = await within(process.exited, {
      ms: 8_000,
      describe: () => `the exit:\n${process.output}`,
    });
    assert.equal(code, 0);
  } finally {
    await Deno.remove(script);
    for (const socket of sockets) {
      socket.onerror = () => {};
      socket.close();
    }
  }
});
