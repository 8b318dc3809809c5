/** The end of a server: what its clients see, and that nothing of it is left. */
import assert from "node:assert/strict";
import {
  callValue,
  connectClient,
  type Entries,
  rawSubscribe,
  sendCall,
  startApp,
  startAppProcess,
} from "./_app.ts";
import { settle } from "./_fake_clock.ts";
import { FaultyKv } from "./_kv_faults.ts";
import {
  freshProcess,
  RawClient,
  startProxy,
  tempKvPath,
  until,
  within,
} from "./_harness.ts";
import { fileURLToPath } from "node:url";

Deno.test("close() tells every client to come back later, and they come back spread", async () => {
  await using kv = await tempKvPath();
  const count = 40;
  const delays: number[] = [];
  const causes: number[] = [];
  const first = await startApp({ kv: kv.path });
  const { port } = first;
  const clients = Array.from(
    { length: count },
    () => connectClient(port, { reconnectDelayMs: 150 }),
  );
  try {
    for (const client of clients) {
      client.on("disconnected", ({ code }) => void causes.push(code));
      client.on("reconnecting", ({ attempt, delayMs }) => {
        if (attempt === 1) delays.push(delayMs);
      });
    }
    const handles = clients.map((client) =>
      client.subscribe<Entries>("Entries")
    );
    await Promise.all(handles.map((handle) => handle.ready()));
    await first.server.close();
    await until(() => delays.length === count);
    assert.deepEqual(causes, Array(count).fill(1001));
    delays.sort((a, b) => a - b);
    // Over the whole time from 0 to twice the delay, not from its half on.
    assert.ok(delays[0]! < 75, `the first comes after ${delays[0]} ms`);
    assert.ok(
      delays[count - 1]! > 200,
      `the last comes after ${delays[count - 1]} ms`,
    );
    await using second = await startApp({ kv: kv.path, listen: { port } });
    await second.entries.update((draft) => void draft.items.push("a"));
    await until(() =>
      handles.every((handle) => handle.getState()?.items.length === 1)
    );
  } finally {
    for (const client of clients) client.destroy();
  }
});

Deno.test("a process whose server is closed ends by itself, with clients, subscriptions and a watch", async () => {
  await using kv = await tempKvPath();
  await using app = await startAppProcess({ kv: kv.path });
  const clients = await Promise.all(
    Array.from({ length: 5 }, () => RawClient.connect(app.port)),
  );
  for (const client of clients) {
    await client.hello();
    await rawSubscribe(client, "Entries");
    await rawSubscribe(client, "Room:a");
  }
  await callValue(clients[0]!, 1, "entries.add", { label: "a" });
  sendCall(clients[0]!, 2, { name: "close", oldest: 1 });
  const { code } = await within(app.process.exited, {
    describe: () => app.process.output,
  });
  assert.equal(code, 0);
  assert.equal(
    app.process.output.trim(),
    `listening ${app.port}`,
    "it writes nothing else",
  );
  for (const client of clients) {
    assert.equal(
      (await within(client.closed, { describe: () => "the close" })).code,
      1001,
    );
  }
});

Deno.test("a process whose server was never used ends by itself once it is closed, at any moment", async () => {
  const script = fileURLToPath(import.meta.resolve("./servers/closes.ts"));
  for (
    const moment of [
      "unopened",
      "listening",
      "listened",
      "stores",
      "compacting",
      "closing twice",
    ]
  ) {
    await using kv = await tempKvPath();
    await using process = freshProcess([script, moment], { KV: kv.path });
    await process.line(/^closed$/);
    // Less than a commit is tried for: nothing may ask for one any more.
    const { code } = await within(process.exited, {
      ms: 3_000,
      describe: () => `${moment}: the end of the process`,
    });
    assert.equal(code, 0, process.output);
    assert.equal(process.output.trim(), "closed", moment);
  }
});

Deno.test("close() waits for a compaction's step that is under way, and none follows it", async () => {
  using real = await Deno.openKv(":memory:");
  const kv = new FaultyKv(real);
  const begun = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  kv.onCommit(async (run) => {
    begun.resolve();
    await gate.promise;
    return await run();
  }, { match: ({ sets }) => sets.some(({ key }) => key.includes("blob")) });
  await using app = await startApp({ kv });
  // Each small enough to ride in its log entry: the chunks are those of a snapshot.
  for (let n = 0; n < 5; n++) {
    await app.entries.update((draft) =>
      void draft.items.push(`${n}`.padEnd(20_000))
    );
  }
  await begun.promise;
  let isClosed = false;
  const closing = app.server.close().then(() => {
    isClosed = true;
  });
  for (let turn = 0; turn < 100; turn++) await settle();
  assert.equal(isClosed, false, "what it writes would meet a closed KV");
  gate.resolve();
  await closing;
  const { length } = kv.commits;
  for (let turn = 0; turn < 20; turn++) await settle();
  assert.equal(kv.commits.length, length);
});

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  Deno.test(`a process that gets ${signal} answers what runs, and ends with 0`, async () => {
    await using kv = await tempKvPath();
    await using app = await startAppProcess({ kv: kv.path });
    await using client = await RawClient.connect(app.port);
    await client.hello();
    await rawSubscribe(client, "Entries");
    const count = 50;
    for (let id = 1; id <= count; id++) {
      sendCall(client, id, { name: "entries.add", args: { label: `${id}` } });
    }
    await client.next("patch");
    const { code } = await app.process.kill(signal);
    assert.equal(code, 0, app.process.output);
    assert.equal(
      (await within(client.closed, { describe: () => "the close" })).code,
      1001,
    );
    const answered = client.frames.filter(({ type }) => type === "res").length;
    await using again = await startApp({ kv: kv.path });
    const { items } = await again.entries.get();
    assert.ok(
      items.length >= answered,
      `${answered} were acknowledged, ${items.length} are there`,
    );
    assert.ok(answered > 0);
  });
}

Deno.test("close() is bounded while a client has stalled", async () => {
  await using app = await startApp({ limits: { outboxBytes: 64 * 1024 } });
  await using proxy = await startProxy(app.port);
  await using stalled = await RawClient.connect(proxy.port);
  await stalled.hello();
  await rawSubscribe(stalled, "Big");
  proxy.stall();
  await using other = await RawClient.connect(app.port);
  await other.hello();
  // More than the buffers of two sockets of this machine hold.
  const text = "x".repeat(1_000_000);
  for (let n = 0; n < 20; n++) {
    await app.big.update((draft) => {
      draft.title = `${n}${text}`;
    });
  }
  const startedMs = performance.now();
  const closing = app.server.close();
  assert.equal(
    (await within(other.closed, { describe: () => "the close" })).code,
    1001,
  );
  await within(closing, { describe: () => "close()" });
  const tookMs = performance.now() - startedMs;
  assert.ok(tookMs < 4_000, `${tookMs} ms`);
  proxy.resume();
});
