import assert from "node:assert/strict";
import { decodeDown } from "../protocol/codec.ts";
import { PROTOCOL_VERSION } from "../protocol/frames.ts";
import { FakeClock, settle } from "./_fake_clock.ts";
import {
  type HeldSocket,
  openServerBench,
  type ServerBench,
} from "./_server_bench.ts";
import { until } from "./_waiting.ts";

/** The message in which a socket was sent that version of its one store. */
async function messageOf(
  socket: HeldSocket,
  version: number,
): Promise<Uint8Array> {
  return await until(() =>
    socket.messages.find((message) =>
      decodeDown(message).some((frame) =>
        frame.type === "patch" && frame.version === version
      )
    )
  );
}

/** Sockets that are subscribed and have their first state. */
async function subscribers(
  bench: ServerBench,
  name: string,
  count: number,
): Promise<HeldSocket[]> {
  const sockets = Array.from({ length: count }, () => bench.connect());
  for (const socket of sockets) {
    socket.deliver({ type: "hello", protocol: PROTOCOL_VERSION }, {
      type: "sub",
      name,
    });
  }
  // One look at all of them: hundreds of pollers would keep the event loop for themselves.
  await until(() => sockets.every((socket) => socket.frames.length === 2));
  return sockets;
}

Deno.test("a version is encoded once, whoever listens: all are handed the same bytes", async () => {
  await using bench = await openServerBench();
  const sockets = await subscribers(bench, "Entries", 20);
  for (let version = 2; version < 6; version++) {
    await bench.entries.update((draft) => void draft.items.push(`${version}`));
    const [first, ...others] = await Promise.all(
      sockets.map((socket) => messageOf(socket, version)),
    );
    // The same object, not only the same content: nothing was encoded or copied again.
    for (const other of others) assert.equal(other, first);
  }
});

Deno.test("a snapshot is encoded once per version", async () => {
  await using bench = await openServerBench();
  const snapshots = async () => {
    const sockets = Array.from({ length: 5 }, () => bench.connect());
    for (const socket of sockets) await socket.subscribe("Entries");
    return sockets.map(({ messages }) => messages.at(-1));
  };
  const [first, ...others] = await snapshots();
  for (const other of others) assert.equal(other, first);
  await bench.entries.update((draft) => void draft.items.push("a"));
  const [second] = await snapshots();
  assert.notEqual(second, first);
  assert.deepEqual(
    decodeDown(second!).map((frame) => "state" in frame && frame.state),
    [{ items: ["a"] }],
  );
});

Deno.test("the answer travels in one message with the patch that contains its effect, behind it", async () => {
  await using bench = await openServerBench();
  const socket = bench.connect();
  await socket.subscribe("Entries");
  const before = socket.messages.length;
  socket.deliver({
    type: "rpc",
    id: 1,
    oldest: 1,
    elapsedMs: 0,
    name: "entries.add",
    args: { label: "a" },
  });
  await socket.next("res");
  const messages = socket.messages.slice(before).map((message) =>
    decodeDown(message).map(({ type }) => type)
  );
  assert.deepEqual(messages, [["patch", "res"]]);
});

Deno.test("all frames of a tick for one connection are one message, whatever they are about", async () => {
  await using bench = await openServerBench();
  const socket = bench.connect();
  await socket.hello();
  const rooms = ["Room:a", "Room:b", "Room:c"];
  for (const name of rooms) {
    socket.deliver({ type: "sub", name });
    await socket.next("snap");
  }
  const before = socket.messages.length;
  socket.deliver(...rooms.map((name, index) => ({
    type: "rpc" as const,
    id: index + 1,
    oldest: 1,
    elapsedMs: 0,
    name: "rooms.say",
    args: { room: name.slice(5), text: "hi" },
  })));
  await until(() =>
    socket.frames.filter(({ type }) => type === "res").length === 3
  );
  const messages = socket.messages.slice(before).map((message) =>
    decodeDown(message).map(({ type }) => type)
  );
  assert.deepEqual(messages.map((types) => types.toSorted()), [
    ["patch", "patch", "patch", "res", "res", "res"],
  ]);
});

Deno.test("patches of a store with many subscribers are gathered for some milliseconds, not when it is idle", async () => {
  const clock = new FakeClock();
  await using bench = await openServerBench({
    clock,
    limits: { fanoutMs: 16 },
  });
  const sockets = await subscribers(bench, "Entries", 500);
  const [socket] = sockets;
  const before = socket!.messages.length;
  await bench.entries.update((draft) => void draft.items.push("first"));
  await settle();
  assert.equal(socket!.messages.length, before + 1, "sent at once when idle");
  for (let n = 0; n < 9; n++) {
    await bench.entries.update((draft) => void draft.items.push(`${n}`));
  }
  await settle();
  assert.equal(socket!.messages.length, before + 1, "gathered under load");
  await clock.advance(16);
  assert.equal(socket!.messages.length, before + 2);
  const [patch] = decodeDown(socket!.messages.at(-1)!);
  assert.ok(patch?.type === "patch");
  assert.deepEqual([patch.from, patch.version], [2, 11]);
  for (const other of sockets) {
    assert.equal(other.messages.at(-1), socket!.messages.at(-1));
  }
});

Deno.test("an answer waits for the gathered patch that contains its effect", async () => {
  const clock = new FakeClock();
  await using bench = await openServerBench({ clock });
  const sockets = await subscribers(bench, "Entries", 500);
  const [caller] = sockets;
  await bench.entries.update((draft) =>
    void draft.items.push("the window begins")
  );
  await settle();
  const before = caller!.messages.length;
  caller!.deliver({
    type: "rpc",
    id: 1,
    oldest: 1,
    elapsedMs: 0,
    name: "entries.add",
    args: { label: "a" },
  });
  await until(() => bench.entries.peek()?.items.length === 2);
  await settle();
  assert.equal(caller!.messages.length, before);
  await clock.advance(16);
  const messages = caller!.messages.slice(before).map((message) =>
    decodeDown(message).map(({ type }) => type)
  );
  assert.deepEqual(messages, [["patch", "res"]]);
});

Deno.test("an answer waits for the flush of a caller that was slow, so that nothing shows too early", async () => {
  const clock = new FakeClock();
  await using bench = await openServerBench({
    clock,
    limits: { outboxBytes: 10_000 },
  });
  const caller = bench.connect();
  await caller.subscribe("Entries");
  const before = caller.messages.length;
  caller.deliver({
    type: "rpc",
    id: 1,
    oldest: 1,
    elapsedMs: 0,
    name: "entries.add",
    args: { label: "a" },
  });
  // Full before the call has run, but after it was taken.
  caller.isHeld = true;
  caller.bufferedBytes = 10_001;
  await until(() => bench.entries.peek()?.items.length === 1);
  await settle();
  assert.equal(caller.messages.length, before);
  caller.drain();
  await clock.advance(20);
  await caller.next("res");
  const types = caller.messages.slice(before).flatMap((message) =>
    decodeDown(message).map(({ type }) => type)
  );
  assert.deepEqual(types, ["patch", "res"]);
});

Deno.test("a subscriber that comes while others are served gets one state and then every version", async () => {
  await using bench = await openServerBench();
  await bench.entries.update((draft) => void draft.items.push("first"));
  let isWriting = true;
  const writing = (async () => {
    for (let n = 0; isWriting; n++) {
      await bench.entries.update((draft) => void draft.items.push(`${n}`));
    }
  })();
  try {
    for (let n = 0; n < 50; n++) {
      const socket = bench.connect();
      const snap = await socket.subscribe("Entries");
      let version = snap.version;
      for (let patches = 0; patches < 5; patches++) {
        const patch = await socket.next("patch");
        assert.equal(
          patch.from,
          version,
          "a gap or a version that it had already",
        );
        ({ version } = patch);
      }
      assert.equal(
        socket.frames.filter(({ type }) => type === "snap").length,
        1,
      );
      socket.hangUp();
    }
  } finally {
    isWriting = false;
    await writing;
  }
});
