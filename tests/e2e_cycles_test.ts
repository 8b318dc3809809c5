/** Clients that come and go by the thousand leave nothing behind. */
import assert from "node:assert/strict";
import { decodeDown, encodeFrame, joinFrames } from "../protocol/codec.ts";
import { PROTOCOL_VERSION, SUBPROTOCOL } from "../protocol/frames.ts";
import { startApp } from "./_app.ts";
import { until, within } from "./_harness.ts";

const CYCLES = 10_000;
const AT_ONCE = 50;

const GREETING = joinFrames([
  encodeFrame({ type: "hello", protocol: PROTOCOL_VERSION }),
  encodeFrame({ type: "sub", name: "Entries" }),
  encodeFrame({ type: "sub", name: "Room:a" }),
  encodeFrame({ type: "ping" }),
]);

/** Connects, subscribes, and leaves: politely, or as soon as it is connected. */
function cycle(port: number, isPolite: boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}`, SUBPROTOCOL);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      socket.send(GREETING);
      if (!isPolite) socket.close();
    };
    let frames = 0;
    socket.onmessage = ({ data }) => {
      frames += decodeDown(new Uint8Array(data)).length;
      // Welcome, pong and both snapshots; patches may have come with the last of them.
      if (frames >= 4) socket.close();
    };
    socket.onerror = (event) =>
      reject(event instanceof ErrorEvent ? event.error : event);
    socket.onclose = () => resolve();
  });
}

Deno.test(`${CYCLES} times connect, subscribe, disconnect leaves every registry empty`, async () => {
  await using app = await startApp({
    limits: { idleMs: 200, connectionsPerAddress: AT_ONCE * 4 },
  });
  let begun = 0;
  let mostSubscribed = 0;
  const strand = async () => {
    while (begun < CYCLES) {
      const n = begun++;
      await within(cycle(app.port, n % 4 !== 0), {
        ms: 20_000,
        describe: () => `cycle ${n}`,
      });
      if (n % 100 !== 0) continue;
      mostSubscribed = Math.max(mostSubscribed, app.entries.subscriberCount());
      await app.entries.update((draft) => {
        draft.items = [`${n}`];
      });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, strand));
  assert.ok(mostSubscribed > 0, "nobody has ever subscribed");
  const empty = {
    connections: 0,
    addresses: 0,
    subscriptions: 0,
    slow: 0,
    slowBytes: 0,
    sessions: 0,
    stores: 0,
  };
  const health = async () => await app.server.health();
  let last: unknown;
  await until(async () => {
    const { status: _, ...figures } = last = await health();
    return Object.values(figures).every((figure) => figure === 0);
  }, { describe: () => JSON.stringify(last) });
  assert.deepEqual(await health(), { status: "ok", ...empty });
  assert.equal(app.entries.subscriberCount(), 0);
  assert.equal(app.entries.peek(), undefined, "the store is unloaded");
  // And it is all there again for the next one.
  assert.equal((await app.entries.get()).items.length, 1);
});
