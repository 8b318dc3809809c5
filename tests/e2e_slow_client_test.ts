/** A client that does not read costs bounded memory, delays nobody, and is right once it reads again. */
import assert from "node:assert/strict";
import type { DownFrame } from "../protocol/frames.ts";
import { applyPatch } from "../protocol/patch.ts";
import type { Json } from "../protocol/value.ts";
import {
  callValue,
  connectClient,
  type Entries,
  rawSubscribe,
  startApp,
  startAppProcess,
} from "./_app.ts";
import {
  RawClient,
  startProxy,
  tempKvPath,
  until,
  within,
} from "./_harness.ts";

/** Follows the frames of one store as a client does; throws at a gap. */
function replay(
  frames: readonly DownFrame[],
): { version: number; state: Json } {
  let version = 0;
  let state: Json = null;
  for (const frame of frames) {
    if (frame.type === "snap") {
      assert.ok(frame.version >= version, "it goes back");
      ({ version, state } = frame);
    } else if (frame.type === "patch") {
      assert.equal(frame.from, version, "a gap");
      version = frame.version;
      state = applyPatch(state, frame.patch);
    }
  }
  return { version, state };
}

Deno.test("some of the clients stall: the others are served, and they get one delta or snapshot", async () => {
  const count = 20;
  await using kv = await tempKvPath();
  await using app = await startAppProcess({ kv: kv.path });
  await using proxy = await startProxy(app.port);
  await using clients = new AsyncDisposableStack();
  const slow: RawClient[] = [];
  for (let n = 0; n < count; n++) {
    slow.push(clients.use(await RawClient.connect(proxy.port)));
  }
  await using writer = await RawClient.connect(app.port);
  await using other = await RawClient.connect(app.port);
  for (const client of [writer, other, ...slow]) {
    await client.hello();
    await rawSubscribe(client, "Entries");
  }
  using _ = { [Symbol.dispose]: () => proxy.resume() };
  const memory = async (id: number) =>
    Number(await callValue(writer, id, "memory"));
  const fill = async (from: number, writes: number) => {
    for (let n = from; n < from + writes; n++) {
      await callValue(writer, n, "entries.fill", { n, bytes: 60_000 });
    }
  };
  // A first round, so that what grows later is not what every process needs.
  await fill(1, 50);
  const before = await memory(1_000);
  proxy.stall();
  const received = slow.map(({ frames }) => frames.length);
  // 15 MB for each of 20: 300 MB, of which the system's buffers take a part.
  await fill(2_000, 250);
  const grownMb = Math.round((await memory(5_000) - before) / 1e6);
  assert.ok(grownMb < 80, `the server has grown by ${grownMb} MB`);
  const version = 1 + 50 + 250;
  await until(() => replay(other.frames).version === version, {
    describe: () => "the others have every version",
  });

  proxy.resume();
  const expected = replay(other.frames);
  for (const [index, client] of slow.entries()) {
    await until(() => replay(client.frames).version === version, {
      ms: 10_000,
    });
    assert.deepEqual(replay(client.frames), expected);
    const late = client.frames.slice(received[index]);
    const last = late.findLast((frame) =>
      frame.type === "patch" || frame.type === "snap"
    );
    // What was in the buffers came one by one; the rest, which did not fit, in one.
    const skipped = last?.type === "patch" ? last.version - last.from : version;
    assert.ok(
      skipped > 100,
      `the last of ${late.length} frames holds ${skipped} versions`,
    );
  }
});

Deno.test("a client that stalls for too long is evicted by 4008, comes back by itself, and catches up", async () => {
  await using app = await startApp({
    limits: { stallMs: 150, outboxBytes: 32 * 1024 },
  });
  await using proxy = await startProxy(app.port);
  using client = connectClient(proxy.port);
  const causes: number[] = [];
  client.on("disconnected", ({ code }) => void causes.push(code));
  const handle = client.subscribe<Entries>("Entries");
  await handle.ready();
  proxy.stall();
  let n = 0;
  const evicted = async () => {
    await app.entries.set({ items: [`${n++}`.padEnd(1_000_000)] });
    return (await app.server.health())["connections"] === 0;
  };
  await until(evicted, { describe: () => `${n} states of 1 MB` });
  assert.equal(app.entries.subscriberCount(), 0, "nothing is kept for it");
  proxy.resume();
  await until(() => handle.getState()?.items[0]?.startsWith(`${n - 1} `));
  assert.equal(client.status, "connected");
  assert.equal(causes.length, 1);
  // The code itself is behind all that was buffered; where TCP ended first there is none.
  assert.ok([4008, 1006, 0].includes(causes[0]!), `closed with ${causes[0]}`);
});

Deno.test("a half-open connection is noticed at both ends", async () => {
  await using app = await startApp({ listen: { heartbeatMs: 100 } });
  await using proxy = await startProxy(app.port);
  using client = connectClient(proxy.port);
  const handle = client.subscribe<Entries>("Entries");
  await handle.ready();
  const causes: number[] = [];
  client.on("disconnected", ({ code }) => void causes.push(code));
  // Nothing arrives at the client any more, though what it sends gets through.
  proxy.stall();
  const startedMs = performance.now();
  await until(() => causes.length > 0);
  const tookMs = performance.now() - startedMs;
  assert.equal(causes[0], 4009);
  assert.ok(tookMs < 1_500, `the client took ${tookMs} ms`);
  proxy.resume();
  await within(client.ready(), { describe: () => client.status });

  // And a peer that says nothing at all, over a connection that is fine.
  await using silent = await RawClient.connect(app.port);
  await silent.hello();
  const saidMs = performance.now();
  assert.equal(
    (await within(silent.closed, { describe: () => "the close" })).code,
    4009,
  );
  const heardMs = performance.now() - saidMs;
  assert.ok(heardMs >= 240 && heardMs < 1_500, `the server took ${heardMs} ms`);
});
