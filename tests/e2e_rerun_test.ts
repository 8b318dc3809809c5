/**
 * Calls that run again after a crash, in the cases that `deno task torture` has
 * found: what they wrote to a store that they deleted themselves, and an answer
 * that is there before the caller's stores are.
 */
import assert from "node:assert/strict";
import { openDenoKv } from "../adapters/deno_kv.ts";
import type { Server } from "../server/mod.ts";
import {
  callValue,
  rawCall,
  rawSubscribe,
  sendCall,
  startApp,
  tokenOf,
} from "./_app.ts";
import { RawClient, tempKvPath, until } from "./_harness.ts";
import { FaultyKv, Gate, readOf } from "./_kv_faults.ts";

/** Functions that write to a room, delete it and maybe write again. */
function defineRooms(server: Server): void {
  const say = async (key: string, text: string) => {
    const room = server.store<{ messages: string[] }>(`Room:${key}`);
    const { value } = await room!.update((draft) => { // "Room:*" is defined
      draft.messages.push(text);
      return draft.messages.length;
    });
    return value;
  };
  server.handle("cycle", async (key: string) => {
    const before = [await say(key, "a"), await say(key, "b")];
    await server.deleteStore(`Room:${key}`);
    return [...before, await say(key, "c")];
  });
  server.handle("renew", async (key: string) => {
    const isDeleted = await server.deleteStore(`Room:${key}`);
    return [isDeleted, await say(key, "a")];
  });
  server.handle("end", async (key: string) => {
    const value = await say(key, "a");
    await server.store(`Room:${key}`)!.reset(); // as above
    return [value, await server.deleteStore(`Room:${key}`)];
  });
  server.handle("long", async (key: string) => {
    const room = server.store<{ messages: string[] }>(`Room:${key}`)!;
    // More than a record holds.
    for (let n = 0; n < 60; n++) {
      await room.update((draft) => {
        draft.messages.push("x");
        return "y".repeat(1_300);
      });
    }
    return await server.deleteStore(`Room:${key}`);
  });
}

/** Makes a call on one server, and sends it again to another; both answers. */
async function callTwice(name: string) {
  const kv = await tempKvPath();
  await using first = await startApp({ kv: kv.path, define: defineRooms });
  await using client = await RawClient.connect(first.port);
  const { session } = await client.hello();
  const once = await rawCall(client, 1, { name, args: "k" });
  await using second = await startApp({ kv: kv.path, define: defineRooms });
  await using again = await RawClient.connect(second.port);
  await again.hello({ session });
  const twice = await rawCall(again, 1, { name, args: "k", resent: true });
  const hasRoom = await second.rooms.has("k");
  const room = await second.rooms.get("k");
  await kv[Symbol.asyncDispose]();
  return { once, twice, hasRoom, room };
}

Deno.test("a call that writes, deletes the store and writes again takes effect once", async () => {
  const { once, twice, room } = await callTwice("cycle");
  assert.deepEqual(once.value, [1, 2, 1]);
  assert.deepEqual(twice.value, once.value);
  assert.deepEqual(room?.messages, ["c"]);
});

Deno.test("a call that found no store to delete does not delete what it made then when it runs again", async () => {
  const { once, twice, room } = await callTwice("renew");
  assert.deepEqual(once.value, [false, 1]);
  assert.deepEqual(twice.value, once.value);
  assert.deepEqual(room?.messages, ["a"]);
});

Deno.test("a call that writes and then deletes the store does not make it anew when it runs again", async () => {
  const { once, twice, hasRoom } = await callTwice("end");
  assert.deepEqual(once.value, [1, true]);
  assert.deepEqual(twice.value, once.value);
  assert.equal(hasRoom, false);
});

Deno.test("a call whose values were too much to be kept beyond its deletion of the store is told so", async () => {
  const { once, twice, hasRoom } = await callTwice("long");
  assert.deepEqual(once.error ?? once.value, true);
  assert.equal(twice.error?.code, "unknown");
  assert.equal(hasRoom, false);
});

Deno.test("a recorded answer waits until the caller's store is open, and shows what the call wrote", async () => {
  await using kv = await tempKvPath();
  const define = (server: Server) =>
    server.handle("once.add", async (label: string) => {
      const entries = server.store<{ items: string[] }>("Entries");
      await entries!.update((draft) => void draft.items.push(label)); // it is defined
    }, { once: true });
  await using first = await startApp({ kv: kv.path, define });
  await using client = await RawClient.connect(first.port);
  const { session } = await client.hello();
  await callValue(client, 1, "entries.add", { label: "a" });
  const seen = await rawSubscribe(client, "Entries");
  await callValue(client, 2, "once.add", "b");

  const opened = await openDenoKv(kv.path);
  const faulty = new FaultyKv(opened.kv);
  {
    await using second = await startApp({ kv: faulty, define });
    const gate = new Gate();
    faulty.beforeRead(gate.pass, {
      match: (read) => readOf("head", "get")(read) && read.key[3] === "Entries",
    });
    await using again = await RawClient.connect(second.port);
    await again.hello({ session });
    again.send({ type: "sub", name: "Entries", token: tokenOf(seen) });
    sendCall(again, 2, { name: "once.add", args: "b", resent: true });
    await gate.reached;
    await until(() => faulty.reads.some(readOf("answer")));
    // Handled after the call: were its answer not held back, it would be sent by now.
    await rawCall(again, 3, { name: "echo" });
    gate.open();
    await until(() =>
      again.frames.some((frame) => frame.type === "res" && frame.id === 2)
    );
    const order = again.frames.flatMap((frame) =>
      frame.type === "res"
        ? `answer ${frame.id}`
        : frame.type === "resume"
        ? "resume"
        : []
    );
    assert.deepEqual(order, ["answer 3", "resume", "answer 2"]);
  }
  await opened.close();
});
