import assert from "node:assert/strict";
import { HeadwaterError } from "../client/mod.ts";
import { settle } from "./_fake_clock.ts";
import { idleClient, openClient, patch, snap } from "./_fake_socket.ts";

Deno.test("Listeners run once per message, after all of it is applied", async () => {
  const { client, socket } = await openClient();
  const log: string[] = [];
  const a = client.subscribe<number>(
    "A",
    () => log.push(`A ${a.getState()} ${b.getState()}`),
  );
  const b = client.subscribe<number>(
    "B",
    () => log.push(`B ${a.getState()} ${b.getState()}`),
  );
  client.on("tick", (data) => log.push(`tick ${data} ${a.getState()}`));
  await settle();
  socket.deliver(
    { type: "evt", channel: "tick", data: "first" },
    snap({ store: 1, name: "A", state: 0 }),
    patch(2, [], 1),
    snap({ store: 2, name: "B", state: 10 }),
    patch(3, [], 2),
    patch(2, [], 11, { store: 2 }),
  );
  assert.deepEqual(log, ["A 2 11", "B 2 11", "tick first 2"]);
});

Deno.test("Listeners of a store that did not change are not called", async () => {
  const { client, socket } = await openClient();
  let calls = 0;
  client.subscribe("A", () => calls++);
  await settle();
  socket.deliver(snap({ name: "A", state: 0 }));
  socket.deliver(snap({ name: "A", state: 0 }), { type: "pong" });
  assert.equal(calls, 1);
});

Deno.test("A listener that throws stops none, and what it throws goes to error", async () => {
  const { client, socket, errors, reported } = await openClient();
  const log: string[] = [];
  client.subscribe("A", () => {
    log.push("first");
    throw new Error("in the first");
  });
  client.subscribe("A", () => log.push("second"));
  client.on("tick", () => {
    // deno-lint-ignore no-throw-literal
    throw "no error at all";
  });
  client.on("tick", () => log.push("tick"));
  await settle();
  socket.deliver(snap({ name: "A", state: 0 }), {
    type: "evt",
    channel: "tick",
  });
  assert.deepEqual(log, ["first", "second", "tick"]);
  assert.deepEqual(errors.map((error) => error.message), [
    "in the first",
    "no error at all",
  ]);
  assert.deepEqual(reported, []);
});

Deno.test("What a listener throws is reported where nobody listens to error, or that throws itself", async () => {
  const reported: unknown[] = [];
  const { createClient } = await import("../client/mod.ts");
  const { network, clock } = idleClient();
  using client = createClient("ws://test/", {
    WebSocket: network.WebSocket,
    clock,
    reportError: (error) => void reported.push(error),
  });
  client.on("tick", () => {
    throw new Error("unheard");
  });
  network.socket.accept();
  network.socket.welcome();
  network.socket.deliver({ type: "evt", channel: "tick" });
  assert.deepEqual(reported.map(String), ["Error: unheard"]);

  const off = client.on("error", () => {
    throw new Error("thrown by the listener of errors");
  });
  network.socket.deliver({ type: "evt", channel: "tick" });
  assert.deepEqual(reported.map(String), [
    "Error: unheard",
    "Error: thrown by the listener of errors",
  ]);
  off();
  // What the server says, and no listener has thrown, is nobody's uncaught error.
  network.socket.deliver({
    type: "err",
    error: { code: "bad_frame", message: "What?" },
  });
  assert.equal(reported.length, 2);
});

Deno.test("on() returns its undo, also within a listener", async () => {
  const { client, socket } = await openClient();
  const log: string[] = [];
  const record = () => log.push("same");
  const offFirst = client.on("tick", record);
  client.on("tick", record);
  const offOnce = client.on("tick", () => {
    log.push("once");
    offOnce();
    offLater();
  });
  const offLater = client.on("tick", () => log.push("never"));
  socket.deliver({ type: "evt", channel: "tick" });
  offFirst();
  offFirst();
  socket.deliver({ type: "evt", channel: "tick" });
  assert.deepEqual(log, ["same", "same", "once", "same"]);
});

Deno.test("A handle that an earlier listener unsubscribes is not called", async () => {
  const { client, socket } = await openClient();
  const log: string[] = [];
  client.subscribe("A", () => {
    log.push("first");
    second.unsubscribe();
  });
  const second = client.subscribe("A", () => log.push("second"));
  await settle();
  socket.deliver(snap({ name: "A", state: 0 }));
  assert.deepEqual(log, ["first"]);
});

Deno.test("on() hears lifecycle events from the client alone", async () => {
  const { client, network, clock } = idleClient();
  const log: unknown[] = [];
  client.on("connected", (data) => log.push(["connected", data]));
  client.on("disconnected", (data) => log.push(["disconnected", data]));
  client.on("reconnecting", (data) => log.push(["reconnecting", data]));
  client.on("error", (error) => log.push(["error", error.message]));
  client.connect("ws://test/");
  network.socket.accept();
  network.socket.welcome({ clientId: "c7" });
  for (
    const channel of [
      "connected",
      "disconnected",
      "reconnecting",
      "error",
      "storeDeleted",
    ]
  ) {
    network.socket.deliver({ type: "evt", channel, data: "forged" });
  }
  network.socket.hangUp(1006, "gone");
  await clock.advance(750);
  network.socket.hangUp(1006);
  network.socket.deliver({ type: "evt", channel: "connected" });
  assert.deepEqual(log, [
    ["connected", { clientId: "c7" }],
    ["disconnected", { code: 1006, reason: "gone" }],
    ["reconnecting", {
      attempt: 1,
      delayMs: 750,
      cause: { code: 1006, reason: "gone" },
    }],
    ["reconnecting", {
      attempt: 2,
      delayMs: 1_500,
      cause: { code: 1006, reason: "" },
    }],
  ]);
});

Deno.test("What the server refuses without a name goes to error", async () => {
  const { socket, errors } = await openClient();
  socket.deliver({
    type: "err",
    error: { code: "limit", message: "Cannot subscribe: too many" },
  });
  assert.equal(errors.length, 1);
  assert(errors[0] instanceof HeadwaterError);
  assert.equal(errors[0].code, "limit");
});

Deno.test("Errors of stores are told after the whole message is applied", async () => {
  const { client, socket } = await openClient();
  const log: unknown[] = [];
  const a = client.subscribe("A");
  client.subscribe("B");
  client.on("error", () => log.push(a.getState()));
  await settle();
  socket.deliver(
    {
      type: "err",
      name: "B",
      error: { code: "store_missing", message: "No store B" },
    },
    snap({ name: "A", state: "there" }),
  );
  assert.deepEqual(log, ["there"]);
});
