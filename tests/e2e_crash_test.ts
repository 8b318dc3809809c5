/** A server that is killed again and again loses nothing that it has acknowledged. */
import assert from "node:assert/strict";
import { decodeDown } from "../protocol/codec.ts";
import type { DownFrame } from "../protocol/frames.ts";
import {
  type AppProcess,
  connectClient,
  type Entries,
  startAppProcess,
} from "./_app.ts";
import { tempKvPath, until, within } from "./_harness.ts";

const KILLS = 20;
const WRITERS = 3;
/** Acknowledged writes of each writer between two kills. */
const ACKS = 5;

/** Counts the frames that a client is sent, by type. */
function countingSocket() {
  const counts: Partial<Record<DownFrame["type"], number>> = {};
  class CountingSocket extends WebSocket {
    constructor(url: string, protocols: string) {
      super(url, protocols);
      this.addEventListener("message", ({ data }) => {
        for (const { type } of decodeDown(new Uint8Array(data))) {
          counts[type] = (counts[type] ?? 0) + 1;
        }
      });
    }
  }
  return { counts, WebSocket: CountingSocket };
}

Deno.test(`${KILLS} times kill -9: every acknowledged write is there once, and clients catch up by resume`, async () => {
  await using kv = await tempKvPath();
  await using crashed = new AsyncDisposableStack();
  let app: AppProcess = crashed.use(await startAppProcess({ kv: kv.path }));
  const { port } = app;
  const acked = new Map<string, number>();
  let isWriting = true;

  const clients = Array.from({ length: WRITERS }, () => {
    const socket = countingSocket();
    const client = connectClient(port, {
      rpcTimeoutMs: 60_000,
      WebSocket: socket.WebSocket,
    });
    return {
      client,
      counts: socket.counts,
      entries: client.subscribe<Entries>("Entries"),
      acks: 0,
    };
  });
  try {
    await Promise.all(clients.map(({ entries }) => entries.ready()));
    const writing = Promise.all(clients.flatMap((writer, index) =>
      // Two at once, so that there is always one in flight.
      [0, 1].map(async (strand) => {
        for (let n = 0; isWriting; n++) {
          const label = `${index}.${strand}.${n}`;
          acked.set(
            label,
            await writer.client.call<number>("entries.add", { label }),
          );
          writer.acks++;
        }
      })
    ));
    for (let kill = 0; kill < KILLS; kill++) {
      for (const writer of clients) writer.acks = 0;
      await until(() => clients.every(({ acks }) => acks >= ACKS), {
        ms: 20_000,
        describe: () =>
          `${
            clients.map(({ acks }) => acks)
          } writes since kill ${kill}\n${app.process.output}`,
      });
      await app.process.kill("SIGKILL");
      app = crashed.use(await startAppProcess({ kv: kv.path, port }));
    }
    isWriting = false;
    await within(writing, {
      ms: 20_000,
      describe: () => `the last of ${acked.size} writes`,
    });

    const { items } = clients[0]!.entries.getState()!;
    assert.equal(new Set(items).size, items.length, "a write is there twice");
    assert.equal(
      items.length,
      acked.size,
      "what was acknowledged and what is there differ",
    );
    for (const [label, value] of acked) assert.equal(items[value - 1], label);
    for (const { entries, counts, client } of clients) {
      await until(() => entries.getState()?.items.length === items.length);
      assert.deepEqual(entries.getState()?.items, items);
      assert.equal(client.unackedCount, 0);
      assert.equal(counts.snap, 1, "only the first state is a snapshot");
      assert.ok(
        (counts.resume ?? 0) >= KILLS,
        `${counts.resume} resumes for ${KILLS} kills`,
      );
    }
    assert.ok(acked.size >= KILLS * WRITERS * ACKS);
  } finally {
    isWriting = false;
    for (const { client } of clients) client.destroy();
  }
});
