/** A client on a slow link gets what is larger than it can carry in a heartbeat, and stays connected. */
import assert from "node:assert/strict";
import type { Client, ClientOptions } from "../client/mod.ts";
import { type Big, connectClient, type Entries, startApp } from "./_app.ts";
import { until } from "./_harness.ts";
import { startSlowLink } from "./_slow_link.ts";

/** A client on the slow link that counts its losses. */
function connectSlowly(
  port: number,
  options: ClientOptions = {},
): { client: Client; losses: string[] } {
  const client = connectClient(port, options);
  const losses: string[] = [];
  client.on("disconnected", ({ code, reason }) => {
    losses.push(`${code} ${reason}`);
  });
  return { client, losses };
}

Deno.test("a snapshot that takes ten heartbeats arrives, with what has changed meanwhile", async () => {
  const heartbeatMs = 200;
  await using app = await startApp({ listen: { heartbeatMs } });
  const bytes = JSON.stringify(await app.big.get()).length;
  const rate = Math.round(bytes / (10 * heartbeatMs / 1_000));
  await using link = startSlowLink(app.port, rate);
  const { client, losses } = connectSlowly(link.port);
  using _ = client;
  const handle = client.subscribe<Big>("Big");
  let isReady = false;
  const startMs = performance.now();
  const ready = handle.ready().then(() => isReady = true, () => false);
  let changes = 0;
  await until(async () => {
    await app.big.update((draft) => {
      draft.rows[changes % 100]!.text = `change ${++changes}`;
    });
    return isReady || losses.length > 0;
  }, { ms: 20_000, describe: () => `${link.bytes} of ${bytes} bytes` });
  assert.deepEqual(losses, []);
  assert.ok(await ready);
  const tookMs = performance.now() - startMs;
  assert.ok(tookMs > 5 * heartbeatMs, `it took ${tookMs} ms: too quick a link`);
  assert.ok(changes > 5, `${changes} changes`);
  const { version } = await app.big.update((draft) => {
    draft.title = "the last change";
  });
  await until(() => handle.version === version, { ms: 10_000 });
  assert.deepEqual(handle.getState(), await app.big.get());
  assert.deepEqual(losses, []);
  assert.equal(link.links, 1);
});

Deno.test("a client on 1 KB/s gets a state that takes over four heartbeats", async () => {
  const heartbeatMs = 2_000;
  await using app = await startApp({ listen: { heartbeatMs } });
  await app.entries.set({ items: ["x".repeat(9_000)] });
  await using link = startSlowLink(app.port, 1_000);
  const { client, losses } = connectSlowly(link.port);
  using _ = client;
  const handle = client.subscribe<Entries>("Entries");
  const startMs = performance.now();
  // It is on its way when this is added.
  await until(() => link.bytes > 1_000);
  const { version } = await app.entries.update((draft) => {
    draft.items.push("last");
  });
  await until(() => handle.version === version || losses.length > 0, {
    ms: 20_000,
    describe: () => `version ${version}; ${link.bytes} bytes`,
  });
  assert.deepEqual(losses, []);
  const tookMs = performance.now() - startMs;
  assert.ok(tookMs > 4 * heartbeatMs, `it took ${tookMs} ms: too quick a link`);
  assert.deepEqual(handle.getState(), await app.entries.get());
});

Deno.test("a client that reads slowly is not evicted as stalled, though its system tells seldom", async () => {
  // The buffers of both systems hold some MB of it, and tell of what was read when a third is free.
  const bytes = 12_000_000;
  const rate = 3_000_000;
  const stallMs = 100;
  await using app = await startApp({
    limits: { stallMs, outboxBytes: 64 * 1024, patchBytes: 4 * bytes },
    listen: { heartbeatMs: 100 },
  });
  await app.entries.set({ items: ["x".repeat(bytes)] });
  await using link = startSlowLink(app.port, rate);
  const { client, losses } = connectSlowly(link.port);
  using _ = client;
  const handle = client.subscribe<Entries>("Entries");
  await until(() => handle.hasData() || losses.length > 0, {
    ms: 20_000,
    describe: () => `${link.bytes} of ${bytes} bytes`,
  });
  assert.deepEqual(losses, []);
  assert.equal(handle.getState()?.items[0]?.length, bytes);
  // Then it is as quick as any.
  const { version } = await app.entries.update((draft) => {
    draft.items.push("last");
  });
  await until(() => handle.version === version);
  assert.equal(link.links, 1);
});
