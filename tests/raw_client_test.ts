import assert from "node:assert/strict";
import { denoPorts } from "../adapters/deno_ports.ts";
import { decodeUp, encodeFrame, joinFrames } from "../protocol/codec.ts";
import {
  type DownFrame,
  PROTOCOL_VERSION,
  SUBPROTOCOL,
} from "../protocol/frames.ts";
import { DEFAULT_LIMITS } from "../protocol/limits.ts";
import type { Socket } from "../server/ports.ts";
import { RawClient } from "./_raw_client.ts";

const WELCOME: DownFrame = {
  type: "welcome",
  protocol: PROTOCOL_VERSION,
  clientId: "c",
  session: "s",
  resumed: false,
  sessionMs: 1,
  heartbeatMs: 0,
  messageBytes: 1,
  serverId: "x",
};

/** A server that answers each frame by a script. */
async function startScript(answer: (type: string, socket: Socket) => void) {
  const ports = denoPorts();
  const seen: unknown[] = [];
  const listener = await ports.listen(
    { host: "127.0.0.1", port: 0 },
    (request) =>
      ports.upgrade(request, (socket) => ({
        message(data) {
          if (typeof data === "string") return void seen.push(data);
          for (const frame of decodeUp(data, DEFAULT_LIMITS)) {
            seen.push(frame);
            answer(frame.type, socket);
          }
        },
        closed() {},
      })),
  );
  return {
    port: listener.port,
    seen,
    [Symbol.asyncDispose]: () => listener.close(),
  };
}

Deno.test("RawClient says hello, keeps every frame, and passes over those that are not asked for", async () => {
  const event: DownFrame = { type: "evt", channel: "news", data: 1 };
  const pong: DownFrame = { type: "pong" };
  await using server = await startScript((type, socket) => {
    if (type === "hello") socket.send(encodeFrame(WELCOME));
    if (type === "ping") {
      socket.send(
        joinFrames([encodeFrame(event), encodeFrame(event), encodeFrame(pong)]),
      );
    }
  });
  await using raw = await RawClient.connect(server.port);
  assert.equal(raw.protocol, SUBPROTOCOL);
  assert.deepEqual(await raw.hello(), WELCOME);
  raw.send({ type: "ping" });
  assert.deepEqual(await raw.nextFrame(), event);
  assert.deepEqual(await raw.next("pong"), pong);
  assert.deepEqual(raw.frames, [WELCOME, event, event, pong]);
  assert.deepEqual(raw.messages.map(({ frames }) => frames.length), [1, 3]);
  assert.equal(
    raw.bytes,
    encodeFrame(WELCOME).length + 2 * encodeFrame(event).length +
      encodeFrame(pong).length,
  );
  raw.send({ type: "unsub", name: "A" }, { type: "unsub", name: "B" });
  raw.send("text");
  raw.send(encodeFrame({ type: "ping" }));
  await raw.next("pong");
  assert.deepEqual(server.seen.slice(2), [
    { type: "unsub", name: "A" },
    { type: "unsub", name: "B" },
    "text",
    { type: "ping" },
  ]);
});

Deno.test("RawClient prints the frames seen where one does not come", async () => {
  await using server = await startScript((_type, socket) =>
    void socket.send(encodeFrame(WELCOME))
  );
  await using raw = await RawClient.connect(server.port);
  await raw.hello();
  await assert.rejects(
    raw.next("patch", { ms: 20 }),
    /Not within 20 ms: a frame "patch": 1 frames seen\n\{"type":"welcome"/,
  );
});

Deno.test("RawClient tells how it was closed, and fails what waits", async () => {
  await using server = await startScript((_type, socket) =>
    socket.close(4001, "too old")
  );
  await using raw = await RawClient.connect(server.port);
  await assert.rejects(
    raw.hello(),
    /Closed before a frame "welcome" came: 0 frames seen; closed with 4001 "too old"/,
  );
  assert.deepEqual(await raw.closed, { code: 4001, reason: "too old" });
});

Deno.test("RawClient fails on bytes that are no frames", async () => {
  await using server = await startScript((_type, socket) =>
    void socket.send(new Uint8Array([0xc1]))
  );
  await using raw = await RawClient.connect(server.port);
  await assert.rejects(raw.hello(), /HeadwaterError/);
});

Deno.test("RawClient.connect() rejects where it is refused", async () => {
  await using server = await startScript(() => {});
  await assert.rejects(
    RawClient.connect(server.port, { protocols: ["other"] }),
    /Cannot connect to ws:.*400/,
  );
});
