/** Events without a network between: slots, the feed of one server and its readers, slow sockets, users. */
import assert from "node:assert/strict";
import { denoPorts } from "../adapters/deno_ports.ts";
import type { DownFrame } from "../protocol/frames.ts";
import { DEFAULT_LIMITS } from "../protocol/limits.ts";
import { createServer } from "../server/mod.ts";
import { CallScopes } from "../server/call_scope.ts";
import { Connections } from "../server/connections.ts";
import { EventQueue } from "../server/event_queue.ts";
import type { EmitOptions } from "../server/event_audience.ts";
import { Events } from "../server/events.ts";
import { Definitions } from "../server/stores/definitions.ts";
import { Failures } from "../server/failures.ts";
import { Lifecycle } from "../server/lifecycle.ts";
import { FEED_MS } from "../server/log/commit.ts";
import { SLOT_EVENT_BYTES } from "../server/log/event_feed.ts";
import { encodeEvent, type SentEvent } from "../server/log/event_record.ts";
import { decodeSlot, encodeSlot } from "../server/log/feed_slot.ts";
import { slotKey } from "../server/log/keys.ts";
import { loggerOf } from "../server/logger.ts";
import { Session } from "../server/session.ts";
import { FakeClock, settle } from "./_fake_clock.ts";
import { until } from "./_harness.ts";
import { FaultyKv } from "./_kv_faults.ts";
import { HeldSocket, openServerBench } from "./_server_bench.ts";
import { keysOf, memoryKv, TestNode } from "./_store_harness.ts";

function eventOf(number: number, data: SentEvent["data"] = number): Uint8Array {
  return encodeEvent({
    namespace: "default",
    channel: "tick",
    number,
    audience: {},
    data,
  });
}

/** What a node was sent, by the events' data. */
function dataOf({ sent }: TestNode): unknown[] {
  return sent.flatMap(({ events }) => events.map(({ data }) => data));
}

Deno.test("encodeSlot() and decodeSlot() carry events with whom they are for", () => {
  const events: SentEvent[] = [
    {
      namespace: "default",
      channel: "tick",
      number: 1,
      audience: { clientId: "c", userId: "7", store: "S", except: ["d", "e"] },
      data: { deep: [1, null] },
    },
    { namespace: "other", channel: "tock", number: 2, audience: {} },
    {
      namespace: "default",
      channel: "null",
      number: 9,
      audience: { except: [] },
      data: null,
    },
  ];
  const sent = { sender: "s1", events: events.map(encodeEvent) };
  const bytes = encodeSlot("f.1", [], sent);
  assert.deepEqual(decodeSlot(bytes), {
    commitId: "f.1",
    items: [],
    sent: { sender: "s1", events },
  });
});

Deno.test("decodeSlot() refuses events that are cut off or are none, and gives slots without events as before", () => {
  const plain = encodeSlot("f.1", []);
  assert.deepEqual(decodeSlot(plain), { commitId: "f.1", items: [] });
  const bytes = encodeSlot("f.1", [], {
    sender: "s1",
    events: [eventOf(1), eventOf(2)],
  });
  for (let length = 0; length < bytes.length; length++) {
    assert.throws(() => decodeSlot(bytes.slice(0, length)), `${length}`);
  }
  const garbage = encodeSlot("f.1", [], {
    sender: "s1",
    events: [new Uint8Array([0xc1])],
  });
  assert.throws(() => decodeSlot(garbage), { code: "store_unreadable" });
});

/** Lets a reader on a virtual clock poll once. */
async function poll(clock: FakeClock, ms = 200): Promise<void> {
  await quiet();
  await clock.advance(ms);
  await quiet();
  // Reads keep a distance.
  await clock.advance(3);
  await quiet();
}

async function quiet(): Promise<void> {
  let idle = 0;
  while (idle < 3) {
    await settle();
    idle = FaultyKv.busy === 0 ? idle + 1 : 0;
  }
}

Deno.test("FeedReader: events before a server's start are not for it, those behind are, in order", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  await using a = await new TestNode(kv, {}).open();
  await a.core.eventFeed.write([eventOf(1)]);
  await using b = await new TestNode(kv, { clock, isWatchDead: true }).open();
  await a.core.eventFeed.write([eventOf(2), eventOf(3)]);
  await a.core.eventFeed.write([eventOf(4)]);
  await poll(clock);
  assert.deepEqual(dataOf(b), [2, 3, 4]);
  assert.deepEqual(dataOf(a), []);
});

Deno.test("FeedReader: a gap among events loses those, and checks no head", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  await using a = await new TestNode(kv, {}).open();
  await using b = await new TestNode(kv, { clock, isWatchDead: true }).open();
  const stores = b.store("S", { n: 0 });
  await stores.init();
  for (const n of [1, 2, 3, 4]) await a.core.eventFeed.write([eventOf(n)]);
  const [feed] = (await keysOf(kv, "slot"))
    .filter((key) => key.endsWith("/3"))
    .map((key) => key.split("/")[0]);
  await kv.atomic()
    .delete(slotKey(feed!, 2))
    .set(slotKey(feed!, 3), new Uint8Array([0, 0, 0, 9, 0xc1]))
    .commit();
  b.kv.reads.length = 0;
  await poll(clock);
  assert.deepEqual(dataOf(b), [1, 4]);
  assert.equal(b.kv.reads.some(({ key }) => key[1] === "head"), false);
});

Deno.test("FeedReader: who was away for long misses what was sent meanwhile, and nothing after", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  await using a = await new TestNode(kv, {}).open();
  await using b = await new TestNode(kv, { clock, isWatchDead: true }).open();
  await poll(clock);
  await a.core.eventFeed.write([eventOf(1)]);
  b.kv.outage = new Error("unplugged");
  await poll(clock, FEED_MS / 2);
  b.kv.outage = undefined;
  await poll(clock);
  await a.core.eventFeed.write([eventOf(2)]);
  await poll(clock);
  assert.deepEqual(dataOf(b), [2]);
});

Deno.test("EventFeed begins another feed before its head can have expired", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  await using a = await new TestNode(kv, { clock, isWatchDead: true }).open();
  await a.core.eventFeed.write([eventOf(1)]);
  await clock.advance(FEED_MS / 2 - 1_000);
  await a.core.eventFeed.write([eventOf(2)]);
  assert.equal((await keysOf(kv, "feed")).length, 1);
  await clock.advance(FEED_MS / 2);
  await a.core.eventFeed.write([eventOf(3)]);
  const slots = await keysOf(kv, "slot");
  const numbers = slots.map((key) => key.split("/")[1]).sort();
  assert.deepEqual(numbers, ["1", "1", "2"]);
  await poll(clock);
  assert.deepEqual(dataOf(a), [], "its own events came back");
});

Deno.test("EventQueue gathers while a slot is written, and cuts slots by their bytes and number", async () => {
  const { clock } = denoPorts();
  const written: number[][] = [];
  const gate = Promise.withResolvers<void>();
  const queue = new EventQueue({
    clock,
    limitBytes: 8 * 1024 * 1024,
    open: () =>
      Promise.resolve({
        write: async (events) => {
          written.push(events.map(({ byteLength }) => byteLength));
          await gate.promise;
        },
      }),
    onLost: (error) => {
      throw error;
    },
  });
  queue.push(new Uint8Array(1));
  await until(() => written.length === 1);
  for (let n = 0; n < 1_500; n++) queue.push(new Uint8Array(2));
  for (let n = 0; n < 3; n++) queue.push(new Uint8Array(25 * 1024));
  gate.resolve();
  await queue.close();
  queue.push(new Uint8Array(1));
  assert.deepEqual(written.map(({ length }) => length), [1, 1_000, 502, 1]);
  for (const sizes of written) {
    assert.ok(sizes.reduce((sum, size) => sum + size) <= SLOT_EVENT_BYTES);
  }
});

Deno.test("EventQueue holds no more than its limit, says once how many it lost, and goes on", async () => {
  const { clock } = denoPorts();
  const lost: [string, number][] = [];
  let written = 0;
  let gate = Promise.withResolvers<void>();
  const queue = new EventQueue({
    clock,
    limitBytes: 10 * (100 + 64),
    open: () =>
      Promise.resolve({
        write: async (events) => {
          await gate.promise;
          written += events.length;
        },
      }),
    onLost: (error, count) => {
      assert.ok(error instanceof Error);
      lost.push([error.message, count]);
    },
  });
  for (let n = 0; n < 25; n++) queue.push(new Uint8Array(100));
  gate.resolve();
  await until(() => lost.length === 1);
  assert.equal(written, 10);
  assert.equal(lost[0]?.[1], 15);
  assert.match(lost[0]?.[0] ?? "", /eventQueueBytes of 1640/);
  gate = Promise.withResolvers();
  queue.push(new Uint8Array(100));
  gate.resolve();
  await queue.close();
  assert.equal(written, 11);
  assert.equal(lost.length, 1);
});

Deno.test("a client that does not read gets a beginning of the events, in order, and costs no more than its outbox", async () => {
  await using bench = await openServerBench({
    limits: { outboxBytes: 8 * 1024 },
  });
  const [slow, quick] = [bench.connect(), bench.connect()];
  for (const socket of [slow, quick]) await socket.hello();
  slow.isHeld = true;
  const numbersOf = (socket: HeldSocket) =>
    socket.frames.flatMap((frame) =>
      frame.type === "evt" ? [(frame.data as { n: number }).n] : []
    );
  const text = "x".repeat(100);
  for (let n = 1; n <= 1_000; n++) {
    bench.server.emit("tick", { n, text });
    if (n % 20 === 0) await until(() => numbersOf(quick).at(-1) === n);
  }
  assert.ok(slow.bufferedBytes < 12 * 1024, `${slow.bufferedBytes}`);
  assert.equal(numbersOf(quick).length, 1_000);
  // Once it reads again it has what had found room, and what comes then.
  slow.drain();
  await until(() => {
    bench.server.emit("tick", { n: 1_001, text });
    return numbersOf(slow).at(-1) === 1_001;
  });
  const got = numbersOf(slow).filter((n) => n !== 1_001);
  assert.ok(got.length > 20 && got.length < 100, `${got.length}`);
  assert.deepEqual(got, got.map((_, index) => index + 1));
});

/** Connections of users, and events for them. */
function openUsers(users: Record<string, SentEvent["data"] | undefined>) {
  const { clock, random, createAmbient } = denoPorts();
  const scopes = new CallScopes(createAmbient());
  const logger = loggerOf("test");
  const lifecycle = new Lifecycle({ clock, scopes, logger });
  const connections = new Connections({
    clock,
    limits: DEFAULT_LIMITS,
    isLoopbackLimited: false,
    lifecycle,
    failures: new Failures({ random, logger, lifecycle, masks: false }),
    onEnded: () => {},
    dispatch: (connection, frame) => {
      if (frame.type !== "hello") return;
      const clientId = frame.identity ?? "";
      connection.welcome(
        new Session({ id: clientId, clientId, issuedAtMs: 0, token: "" }),
      );
      connection.user = users[clientId] ?? null;
      current.set(clientId, connection);
    },
  });
  const current = new Map<
    string,
    Parameters<ConstructorParameters<typeof Connections>[0]["dispatch"]>[0]
  >();
  const sockets = new Map<string, HeldSocket>();
  for (const clientId of Object.keys(users)) {
    const socket = new HeldSocket();
    socket.accepted(connections.accept(socket, {}));
    socket.deliver({ type: "hello", protocol: 1, identity: clientId });
    sockets.set(clientId, socket);
  }
  const events = new Events({
    limits: DEFAULT_LIMITS,
    definitions: new Definitions(),
    namespace: "default",
    sender: "s1",
    roster: connections.roster,
    scopes,
    queue: undefined,
  });
  let count = 0;
  return {
    sockets,
    current,
    [Symbol.asyncDispose]: () => connections.close(0),
    /** Who gets it. */
    async send(to: EmitOptions): Promise<string[]> {
      const data = ++count;
      events.emit("tick", data, to);
      await new Promise<void>((resolve) => clock.defer(() => resolve()));
      const has = (frame: DownFrame) =>
        frame.type === "evt" && frame.data === data;
      return [...sockets].flatMap(([clientId, { frames }]) =>
        frames.some(has) ? clientId : []
      );
    },
  };
}

Deno.test("emit() to a user reaches each of their connections, whatever their user is, as long as it is theirs", async () => {
  await using users = openUsers({
    phone: { id: 7, name: "Ada" },
    laptop: { id: "7" },
    text: "7",
    number: 7,
    other: { id: 8 },
    nameless: { name: "Eve" },
    list: [7],
    nobody: undefined,
  });
  const all = ["phone", "laptop", "text", "number"];
  assert.deepEqual(await users.send({ userId: 7 }), all);
  assert.deepEqual(await users.send({ userId: "7" }), all);
  assert.deepEqual(await users.send({ userId: "undefined" }), []);
  assert.deepEqual(await users.send({ userId: "null" }), []);
  assert.deepEqual(
    await users.send({ userId: 7, except: "phone" }),
    all.slice(1),
  );
  assert.deepEqual(await users.send({ userId: 7, clientId: "other" }), []);
  assert.deepEqual(await users.send({ userId: 8, clientId: "other" }), [
    "other",
  ]);
  // Another user on the same connection, and one that has gone.
  users.current.get("phone")!.user = { id: 8 }; // it is in the list above
  users.sockets.get("text")?.hangUp();
  assert.deepEqual(await users.send({ userId: 7 }), ["laptop", "number"]);
  assert.deepEqual(await users.send({ userId: 8 }), ["phone", "other"]);
  assert.equal((await users.send({})).length, 7);
});

Deno.test("createServer() refuses a limit of events that no value of the KV can hold", () => {
  assert.throws(
    () => createServer({ limits: { eventBytes: 60 * 1024 } }),
    /RangeError.*eventBytes must be 57344 or less, not 61440/s,
  );
});

Deno.test("the largest events that may be are handed over one by one", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  await using a = await new TestNode(kv, {}).open();
  await using b = await new TestNode(kv, { clock, isWatchDead: true }).open();
  const frame = eventOf(1, "").byteLength;
  const text = "x".repeat(SLOT_EVENT_BYTES - frame - 2);
  const event = eventOf(1, text);
  assert.equal(event.byteLength, SLOT_EVENT_BYTES);
  await a.core.eventFeed.write([event]);
  await a.core.eventFeed.write(
    Array.from({ length: 1_000 }, (_, n) => eventOf(n + 2)),
  );
  await poll(clock);
  assert.equal(dataOf(b).length, 1_001);
});
