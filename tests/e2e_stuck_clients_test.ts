/** Clients that read nothing cost bounded memory, delay nobody, and do not hold up the end. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { BenchProcess } from "../scripts/bench/bench_process.ts";
import { measureStuck } from "../scripts/bench/stuck_clients.ts";
import { connectClient, startApp } from "./_app.ts";
import { freshProcess, tempDir, tempKvPath, until } from "./_harness.ts";
import { StalledClients } from "./_stalled_clients.ts";

const MAIN = fileURLToPath(import.meta.resolve("../server/mod.ts"));
const MEMORY_MIB = 32;
/** A busy machine may delay one of a hundred by itself. */
const ATTEMPTS = 3;
const READING = 100;
const PAGE_BYTES = 50_000;
const HZ = 20;
const CHANGES = 200;
const OFFERED_GB = READING * PAGE_BYTES * CHANGES / 1e9;

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

Deno.test(`1 and 100 stalled beside ${READING} that read, ${OFFERED_GB} GB offered to these alone: memory and latency are as without`, async () => {
  await using folder = await tempDir();
  const load = { reading: READING, hz: HZ, changes: CHANGES };
  const seen: string[] = [];
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    // At once, so that the machine's mood is the same for all.
    const [even, ...mixed] = await Promise.all([0, 1, 100].map((stalled) => {
      const kv = `${folder.path}/${stalled}_${attempt}.db`;
      const server = BenchProcess.start("server.ts", {
        kv,
        pageBytes: PAGE_BYTES,
      });
      return measureStuck(server, { ...load, stalled });
    }));
    assert.ok(even); // three were asked for
    assert.deepEqual([even, ...mixed].map(({ slow }) => slow), [0, 1, 100]);
    assert.deepEqual(mixed.map(({ caughtUp }) => caughtUp), [1, 100]);
    const costs = mixed.map(({ heldMiB, p99Ms }) => ({
      grownMiB: heldMiB - even.heldMiB,
      slowerBy: p99Ms / even.p99Ms,
    }));
    // All of it in one attempt: what is best of each would be nobody's run.
    if (
      costs.every(({ grownMiB, slowerBy }) =>
        grownMiB <= MEMORY_MIB && slowerBy <= 2
      )
    ) return;
    seen.push(
      costs.map(({ grownMiB, slowerBy }) =>
        `${grownMiB.toFixed(1)} MiB more, p99 × ${slowerBy.toFixed(2)}`
      ).join("; "),
    );
  }
  assert.fail(`with 1 stalled; with 100:\n${seen.join("\n")}`);
});

Deno.test("what one client does not read is not kept for it: 80 MB of it cost no more than 32", async () => {
  await using folder = await tempDir();
  // Few that read, so that there is time for so much of it: the test above offers each 10 MB.
  const load = { reading: 5, hz: 80, changes: 400 };
  const [even, mixed] = await Promise.all([0, 1].map((stalled) => {
    const kv = `${folder.path}/${stalled}.db`;
    const server = BenchProcess.start("server.ts", { kv, pageBytes: 200_000 });
    return measureStuck(server, { ...load, stalled });
  }));
  assert.ok(even && mixed); // two were asked for
  assert.deepEqual([mixed.slow, mixed.caughtUp], [1, 1]);
  const grownMiB = mixed.heldMiB - even.heldMiB;
  assert.ok(grownMiB <= MEMORY_MIB, `${grownMiB} MiB more than without`);
});

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
