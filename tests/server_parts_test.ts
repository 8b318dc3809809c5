/** Long messages in parts: what the server hands to the socket, and when. */
import assert from "node:assert/strict";
import { decodeDown, encodeFrame, joinFrames } from "../protocol/codec.ts";
import type { DownFrame } from "../protocol/frames.ts";
import { PartJoiner } from "../protocol/parts.ts";
import { Outbox, Outboxes } from "../server/outbox.ts";
import { partBytes } from "../server/part_queue.ts";
import { FakeClock, settle } from "./_fake_clock.ts";
import { HeldSocket, openServerBench } from "./_server_bench.ts";
import { until } from "./_waiting.ts";

const PART = 1_000;
const OUTBOX = 16_000;
const WINDOW = OUTBOX / 8;

function start() {
  const clock = new FakeClock();
  const all = new Outboxes(clock, {
    outboxBytes: OUTBOX,
    outboxTotalBytes: 1_000_000,
    stallMs: 1_000,
  });
  all.partBytes = PART;
  const told: string[] = [];
  const socket = new HeldSocket();
  const outbox = new Outbox(socket, {
    heardAtMs: -Infinity,
    drained: () => void told.push("drained"),
    stalled: () => void told.push("stalled"),
    gone: () => void told.push("gone"),
  }, all);
  return { clock, all, told, socket, outbox };
}

/** A frame of exactly that size whose bytes are all different enough to see an order. */
function result(id: number, bytes: number): Uint8Array<ArrayBuffer> {
  const text = Array.from({ length: bytes }, (_, n) => (n * id) % 10).join("");
  const spare = encodeFrame({ type: "res", id, value: text }).length - bytes;
  return encodeFrame({ type: "res", id, value: text.slice(spare) });
}

/** What a client reads from these messages, joined where they are parts. */
function read(messages: readonly Uint8Array[]): DownFrame[][] {
  const joiner = new PartJoiner();
  return messages.flatMap((bytes) => {
    const message = joiner.isExpecting ? joiner.take(bytes) : bytes;
    if (!message) return [];
    const frames = decodeDown(message);
    if (frames[0]?.type !== "parts") return [frames];
    joiner.expect(frames[0].bytes);
    return [];
  });
}

Deno.test("Outbox sends long messages in parts, and what follows behind them, in order", async () => {
  const { clock, socket, outbox } = start();
  outbox.cutLongMessages();
  const messages = [
    [result(1, 5_300)],
    [result(2, 10)],
    [result(3, 400), result(4, 900), result(5, 2_500), result(6, 20)],
    [result(7, PART)],
    [result(8, PART + 1)],
  ];
  socket.isHeld = true;
  for (const frames of messages) {
    for (const frame of frames) outbox.push(frame);
    await settle();
  }
  for (let round = 0; round < 20; round++) {
    socket.bufferedBytes = 0;
    await clock.advance(20);
  }
  assert.deepEqual(
    read(socket.messages).flat(),
    messages.flatMap((frames) => decodeDown(joinFrames(frames))),
  );
  const lengths = socket.messages.map(({ length }) => length);
  assert.ok(Math.max(...lengths) <= PART);
  assert.deepEqual(lengths.slice(1, 7), [PART, PART, PART, PART, PART, 300]);
  assert.equal(outbox.bufferedBytes, 0);
  assert.equal(clock.pendingTimers, 0);
});

Deno.test("Outbox lets no short message pass between the parts of a long one", async () => {
  const { clock, socket, outbox } = start();
  outbox.cutLongMessages();
  socket.isHeld = true;
  outbox.push(result(1, 9_000));
  await settle();
  for (let id = 2; socket.messages.length < 10; id++) {
    // There is room for a part, or for this.
    socket.bufferedBytes = 0;
    outbox.push(result(id, 20));
    await clock.advance(5);
    assert.ok(id < 20);
  }
  socket.drain();
  await clock.advance(100);
  const ids = read(socket.messages).flat().map((frame) =>
    frame.type === "res" && frame.id
  );
  assert.ok(ids.length > 2);
  assert.deepEqual(ids, ids.map((_, n) => n + 1));
});

Deno.test("Outbox goes on within milliseconds where the peer reads", async () => {
  const { clock, socket, outbox } = start();
  outbox.cutLongMessages();
  socket.isHeld = true;
  outbox.push(result(1, 60_000));
  for (let elapsedMs = 0; outbox.bufferedBytes > 0; elapsedMs += 2) {
    assert.ok(elapsedMs < 100, `${outbox.bufferedBytes} bytes are left`);
    for (let turn = 0; turn < 5; turn++) await settle();
    socket.bufferedBytes = 0;
    await clock.advance(2);
  }
  outbox.close();
});

Deno.test("Outboxes send no further parts once they are closed", async () => {
  const { clock, all, socket, outbox } = start();
  outbox.cutLongMessages();
  socket.isHeld = true;
  outbox.push(result(1, 9_000));
  // Some turns of the event loop, until it waits by a timer.
  for (let turn = 0; turn < 5; turn++) await settle();
  assert.equal(clock.pendingTimers, 2);
  all.close();
  assert.equal(clock.pendingTimers, 0);
  outbox.close();
});

Deno.test("Outbox keeps frames from a socket that lags, and sends them as one message", async () => {
  for (const isCutting of [false, true]) {
    const { clock, all, socket, outbox } = start();
    if (isCutting) outbox.cutLongMessages();
    socket.isHeld = true;
    const first = result(1, OUTBOX / 16 + 1);
    outbox.push(first);
    await settle();
    const begun = socket.messages.length;
    const frames = Array.from({ length: 20 }, (_, n) => result(n + 2, 20));
    for (const frame of frames) {
      outbox.push(frame);
      await settle();
    }
    await clock.advance(100);
    assert.equal(socket.messages.length, begun, "it holds enough already");
    assert.equal(outbox.bufferedBytes, socket.bufferedBytes + 20 * 20);
    assert.equal(all.lagging, 1);
    socket.bufferedBytes = 0;
    await clock.advance(20);
    assert.deepEqual(socket.messages.slice(begun), [joinFrames(frames)]);
    // And from then on as before.
    outbox.push(first);
    await settle();
    outbox.close();
    assert.ok(socket.messages.length > begun + 1);
  }
});

Deno.test("Outbox cuts from the frame that others are sent, without a copy", async () => {
  const { socket, outbox } = start();
  outbox.cutLongMessages();
  const shared = result(1, 3_500);
  outbox.push(shared);
  await settle();
  assert.deepEqual(
    socket.messages.slice(1).map(({ buffer, byteOffset }) => [
      buffer === shared.buffer,
      byteOffset - shared.byteOffset,
    ]),
    [[true, 0], [true, PART], [true, 2 * PART], [true, 3 * PART]],
  );
});

Deno.test("Outbox sends nothing in parts to who has not asked", async () => {
  const { socket, outbox } = start();
  outbox.push(result(1, 5_000));
  await settle();
  assert.deepEqual(socket.messages.map(({ length }) => length), [5_000]);
});

Deno.test("Outbox gives a socket no more of a long message than it drains, and is full all the while", async () => {
  const { clock, all, told, socket, outbox } = start();
  outbox.cutLongMessages();
  socket.isHeld = true;
  const long = result(1, 60_000);
  outbox.push(long);
  assert.equal(outbox.isFull, true);
  await settle();
  for (let drained = 0; drained < 60_000; drained += 1_000) {
    assert.ok(socket.bufferedBytes < WINDOW + PART, `${socket.bufferedBytes}`);
    const left = outbox.bufferedBytes;
    assert.ok(left <= 60_000 - drained + 10, `${left} after ${drained}`);
    assert.equal(outbox.isFull, left > OUTBOX / 2, `${left} bytes wait`);
    socket.bufferedBytes = Math.max(0, socket.bufferedBytes - 1_000);
    // Slower than stallMs, but steadily.
    await clock.advance(900);
  }
  assert.deepEqual(told, ["drained"]);
  assert.deepEqual(read(socket.messages), [decodeDown(long)]);
  socket.bufferedBytes = 0;
  await clock.advance(40);
  assert.deepEqual([all.lagging, clock.pendingTimers], [0, 0]);
});

Deno.test("Outbox holds no parts of a peer that has stalled, or is gone", async () => {
  const { clock, told, socket, outbox } = start();
  outbox.cutLongMessages();
  socket.isHeld = true;
  outbox.push(result(1, 60_000));
  await settle();
  await clock.advance(1_040);
  assert.deepEqual(told, ["stalled"]);
  outbox.close();
  assert.equal(outbox.bufferedBytes, socket.bufferedBytes);
  await clock.advance(1_000);
  assert.equal(clock.pendingTimers, 0);

  const lost = start();
  lost.outbox.cutLongMessages();
  lost.outbox.push(result(1, 60_000));
  lost.socket.hangUp();
  await settle();
  assert.deepEqual(lost.told, ["gone"]);
});

Deno.test("Outbox.finish() sends what waits if it is within the bound, else what was begun is lost", async () => {
  for (const [bytes, isSent] of [[OUTBOX - 100, true], [60_000, false]]) {
    const { socket, outbox } = start();
    outbox.cutLongMessages();
    socket.isHeld = true;
    outbox.push(result(1, Number(bytes)));
    await settle();
    assert.deepEqual(read(socket.messages), []);
    outbox.finish();
    assert.equal(read(socket.messages).length, isSent ? 1 : 0);
    assert.ok(socket.bufferedBytes <= OUTBOX);
    outbox.close();
  }
  const { socket, outbox } = start();
  socket.isHeld = true;
  outbox.push(result(1, OUTBOX / 2));
  await settle();
  outbox.push(result(2, 20));
  await settle();
  assert.equal(read(socket.messages).length, 1, "it lags");
  outbox.finish();
  assert.equal(read(socket.messages).length, 2);
  outbox.close();
});

Deno.test("partBytes() is what 1 KB/s carries in half a heartbeat, within bounds", () => {
  assert.deepEqual(
    [0, 1, 200, 3_000, 30_000, 60_000].map((ms) => partBytes(ms)),
    [16_384, 1_024, 1_024, 1_500, 15_000, 16_384],
  );
});

Deno.test("Connection sends parts to who asks for them in its hello, in the size of the heartbeat", async () => {
  await using bench = await openServerBench({ heartbeatMs: 10_000 });
  await bench.entries.set({ items: ["x".repeat(20_000)] });
  const socket = bench.connect();
  socket.deliver(
    { type: "hello", protocol: 1, parts: true },
    { type: "sub", name: "Entries" },
    { type: "ping" },
  );
  const frames = await until(() => {
    const frames = read(socket.messages).flat();
    return frames.length === 3 ? frames : undefined;
  });
  assert.deepEqual(
    frames.map(({ type }) => type).sort(),
    ["pong", "snap", "welcome"],
  );
  assert.equal(Math.max(...socket.messages.map(({ length }) => length)), 5_000);
  const plain = bench.connect();
  await plain.subscribe("Entries");
  assert.ok(plain.messages.some(({ length }) => length > 20_000));
});
