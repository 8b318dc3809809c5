/** Clients that read nothing cost bounded memory, delay nobody, and do not hold up the end. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { BenchProcess } from "../scripts/bench/bench_process.ts";
import { measureStuck } from "../scripts/bench/stuck_clients.ts";
import { connectClient, startApp } from "./_app.ts";
import { freshProcess, tempDir, tempKvPath, until } from "./_harness.ts";
import { StalledClients } from "./_stuck_clients.ts";

const MAIN = fileURLToPath(import.meta.resolve("../server/mod.ts"));
const MEMORY_MIB = 32;
/** A busy machine may delay one of a hundred by itself: the best of a few attempts counts. */
const ATTEMPTS = 3;

/** Who still waits after so many looks has stalled, and is not just behind. */
const LOOKS = 40;

/** Lets each ask for a store again and again, until all have stalled. */
async function stall(
  { port, clients, count, name }: {
    port: number;
    clients: StalledClients;
    count: number;
    name: string;
  },
): Promise<void> {
  let slow: number | undefined;
  let looks = 0;
  await until(async () => {
    ({ slow } = await healthOf(port));
    looks = slow === count ? looks + 1 : 0;
    if (looks === 0) {
      clients.send({ type: "unsub", name }, { type: "sub", name });
    }
    return looks === LOOKS;
  }, { ms: 20_000, describe: () => `${slow} of ${count} have stalled` });
}

async function healthOf(port: number): Promise<Record<string, number>> {
  const response = await fetch(`http://127.0.0.1:${port}/api/v1/health`);
  return await response.json();
}

for (
  const { stalled, pageBytes, ...load } of [
    // So much that what one does not read would be over the limit.
    { stalled: 1, reading: 5, hz: 40, changes: 400, pageBytes: 200_000 },
    { stalled: 100, reading: 10, hz: 25, changes: 200, pageBytes: 100_000 },
  ]
) {
  const offeredMb = load.changes * pageBytes * (load.reading + stalled) / 1e6;
  Deno.test(`${stalled} stalled beside ${load.reading} that read, ${offeredMb} MB offered: memory and latency are as without`, async () => {
    await using folder = await tempDir();
    let grownMiB = Infinity;
    let slowerBy = Infinity;
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      // At once, so that the machine's mood is the same for both.
      const [even, mixed] = await Promise.all([0, stalled].map((stalled) => {
        const kv = `${folder.path}/${stalled}_${attempt}.db`;
        const server = BenchProcess.start("server.ts", { kv, pageBytes });
        return measureStuck(server, { ...load, stalled });
      }));
      assert.ok(even && mixed); // two were asked for
      assert.deepEqual([even.slow, mixed.slow], [0, stalled]);
      assert.equal(mixed.caughtUp, stalled);
      grownMiB = Math.min(grownMiB, mixed.heldMiB - even.heldMiB);
      slowerBy = Math.min(slowerBy, mixed.p99Ms / even.p99Ms);
      if (grownMiB <= MEMORY_MIB && slowerBy <= 2) break;
    }
    assert.ok(grownMiB <= MEMORY_MIB, `${grownMiB} MiB more than without`);
    assert.ok(slowerBy <= 2, `p99 is ${slowerBy} times the one without`);
  });
}

for (const stalled of [1, 100]) {
  Deno.test(`server.close() does not wait longer than its grace for ${stalled} stalled`, async () => {
    await using app = await startApp();
    await app.entries.set({ items: ["x".repeat(1_000_000)] });
    using clients = await StalledClients.connect(app.port, stalled);
    const { port } = app;
    await stall({ port, clients, count: stalled, name: "Entries" });
    const startMs = performance.now();
    await app.server.close();
    const tookMs = performance.now() - startMs;
    // The grace of calls is not needed, that of sockets is 2 s.
    assert.ok(tookMs < 3_500, `it took ${tookMs} ms`);
  });

  Deno.test(`a server with ${stalled} stalled ends at SIGTERM`, async () => {
    await using kv = await tempKvPath();
    await using process = freshProcess([MAIN], {
      PORT: "0",
      HOST: "127.0.0.1",
      HEADWATER_KV: kv.path,
    });
    const [, found] = await process.line(/127\.0\.0\.1:(\d+)/);
    const port = Number(found);
    {
      using writer = connectClient(port);
      for (let n = 0; n < 500; n++) {
        void writer.call("todos.add", { text: `${n}`.padEnd(200, "x") });
      }
      await until(() => writer.status === "connected");
      await until(() => writer.unackedCount === 0, { ms: 20_000 });
    }
    using clients = await StalledClients.connect(port, stalled);
    await stall({ port, clients, count: stalled, name: "Todos" });
    const startMs = performance.now();
    const status = await process.kill("SIGTERM");
    const tookMs = performance.now() - startMs;
    assert.deepEqual([status.code, status.signal], [0, null], process.output);
    assert.ok(tookMs < 5_000, `it took ${tookMs} ms`);
  });
}
