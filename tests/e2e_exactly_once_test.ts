/**
 * Calls that are sent again: after a connection that was cut in the middle of a
 * frame, to another server, after a restart. Each takes effect once, and gives
 * what it gave the first time.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import type { Server } from "../server/mod.ts";
import type { Entries } from "./_app.ts";
import {
  callValue,
  connectClient,
  rawCall,
  rawSubscribe,
  sendCall,
  startApp,
  startAppProcess,
} from "./_app.ts";
import {
  RawClient,
  startProxy,
  tempDir,
  tempKvPath,
  until,
  within,
} from "./_harness.ts";

Deno.test("calls in flight while the connection is cut in the middle of frames each take effect once", async () => {
  await using app = await startApp();
  await using proxy = await startProxy(app.port);
  using client = connectClient(proxy.port, { rpcTimeoutMs: 30_000 });
  let losses = 0;
  client.on("disconnected", () => void losses++);
  const entries = client.subscribe<Entries>("Entries");
  await entries.ready();

  const values = new Map<string, number>();
  for (let round = 0; round < 20; round++) {
    // A frame of a patch or an answer has some 20 bytes: the cut is within one, or between two.
    proxy.cutAfter(30 + round * 7);
    const labels = Array.from({ length: 25 }, (_, i) => `${round}.${i}`);
    await Promise.all(labels.map(async (label) => {
      values.set(label, await client.call<number>("entries.add", { label }));
    }));
    assert.equal(client.unackedCount, 0);
  }
  assert.ok(losses >= 15, `only ${losses} connections were cut`);
  const items = (await app.entries.get()).items;
  assert.equal(
    items.length,
    values.size,
    "an effect is missing or there twice",
  );
  for (const [label, value] of values) {
    assert.equal(
      items[value - 1],
      label,
      `the value of ${label} is not its first`,
    );
  }
  assert.deepEqual(entries.getState()?.items, items);
});

Deno.test("a call that is sent again to another server takes effect once, and gives the first value", async () => {
  await using kv = await tempKvPath();
  await using first = await startApp({ kv: kv.path });
  await using second = await startApp({ kv: kv.path });
  await using watcher = await RawClient.connect(first.port);
  await watcher.hello();
  await rawSubscribe(watcher, "Entries");
  let session: string;
  {
    await using client = await RawClient.connect(first.port);
    ({ session } = await client.hello());
    sendCall(client, 1, { name: "entries.add", args: { label: "a" } });
    // Its effect is there; whether the answer arrives is of no interest.
    await watcher.next("patch");
  }
  await callValue(watcher, 1, "entries.add", { label: "b" });
  await using client = await RawClient.connect(second.port);
  const welcome = await client.hello({ session });
  assert.equal(welcome.resumed, true);
  const answer = await rawCall(client, 1, {
    name: "entries.add",
    args: { label: "a" },
    resent: true,
  });
  assert.equal(answer.value, 1);
  assert.deepEqual((await second.entries.get()).items, ["a", "b"]);
  // And to the first one again, which remembers the answer.
  await using back = await RawClient.connect(first.port);
  await back.hello({ session });
  const again = await rawCall(back, 1, {
    name: "entries.add",
    args: { label: "a" },
    resent: true,
  });
  assert.equal(again.value, 1);
  assert.deepEqual((await first.entries.get()).items, ["a", "b"]);
});

Deno.test("a call that runs on two servers at once takes effect once, with one value for both", async () => {
  await using kv = await tempKvPath();
  await using first = await startApp({ kv: kv.path });
  await using second = await startApp({ kv: kv.path });
  await using one = await RawClient.connect(first.port);
  const { session } = await one.hello();
  await using two = await RawClient.connect(second.port);
  await two.hello({ session });
  const count = 30;
  const startedMs = performance.now();
  for (let id = 1; id <= count; id++) {
    const call = {
      name: "entries.add",
      args: { label: `${id}` },
      resent: true,
    };
    const [a, b] = await Promise.all([
      rawCall(one, id, call),
      rawCall(two, id, call),
    ]);
    assert.equal(a.value, id);
    assert.equal(b.value, id);
  }
  assert.deepEqual(
    (await first.entries.get()).items,
    Array.from({ length: count }, (_, i) => `${i + 1}`),
  );
  // Each call is a conflict for one of them. Were these counted together, each would wait longer.
  const tookMs = performance.now() - startedMs;
  assert.ok(tookMs < 3_000, `${tookMs} ms for ${count} calls`);
});

Deno.test("the answer to a call that is sent again comes after the state that it made", async () => {
  await using kv = await tempKvPath();
  await using first = await startApp({ kv: kv.path });
  // Without a feed nothing but the call itself can tell this server what the first one did.
  await using second = await startApp({
    kv: kv.path,
    sync: false,
    define: (server) =>
      server.handle("entries.once", () => assert.fail("it ran again"), {
        once: true,
      }),
  });
  first.server.handle("entries.once", async ({ label }: { label: string }) => {
    const { value } = await first.entries.update((draft) =>
      draft.items.push(label)
    );
    return value;
  }, { once: true });
  for (const name of ["entries.add", "entries.once"]) {
    const label = `label of ${name}`;
    await using client = await RawClient.connect(second.port);
    const { session } = await client.hello();
    await rawSubscribe(client, "Entries");
    await using before = await RawClient.connect(first.port);
    await before.hello({ session });
    const { value } = await rawCall(before, 1, { name, args: { label } });
    assert.ok(typeof value === "number");
    const start = client.frames.length;
    const answer = await rawCall(client, 1, {
      name,
      args: { label },
      resent: true,
    });
    assert.equal(answer.value, value);
    const [state, ...rest] = client.frames.slice(start);
    assert.equal(state?.type, "patch", `first came ${JSON.stringify(state)}`);
    assert.match(JSON.stringify(state), new RegExp(label));
    assert.deepEqual(rest.map(({ type }) => type), ["res"]);
  }
});

Deno.test("handle() with once keeps the answer over a restart: the effect happens once", async () => {
  await using kv = await tempKvPath();
  await using folder = await tempDir();
  const effects = join(folder.path, "effects");
  let session: string;
  let value: unknown;
  {
    await using app = await startAppProcess({ kv: kv.path, effects });
    await using client = await RawClient.connect(app.port);
    ({ session } = await client.hello());
    value = await callValue(client, 1, "effect");
    await app.process.kill();
  }
  await using app = await startAppProcess({ kv: kv.path, effects });
  await using client = await RawClient.connect(app.port);
  assert.equal((await client.hello({ session })).resumed, true);
  const answer = await rawCall(client, 1, { name: "effect", resent: true });
  assert.equal(answer.value, value);
  assert.equal(await Deno.readTextFile(effects), `${value}\n`);
});

Deno.test("the same call twice on one connection runs once and is answered twice", async () => {
  const gate = Promise.withResolvers<void>();
  let runs = 0;
  await using app = await startApp({
    define: (server) =>
      server.handle("slow", async () => {
        runs++;
        await gate.promise;
        return runs;
      }),
  });
  await using client = await RawClient.connect(app.port);
  await client.hello();
  // While it runs, and once more when it has.
  sendCall(client, 1, { name: "slow" });
  sendCall(client, 1, { name: "slow", resent: true });
  await rawCall(client, 2, { name: "echo", oldest: 1 });
  gate.resolve();
  assert.equal((await client.next("res")).value, 1);
  assert.equal((await client.next("res")).value, 1);
  const third = await rawCall(client, 1, { name: "slow", resent: true });
  assert.equal(third.value, 1);
  assert.equal(runs, 1);
});

Deno.test("a call below the oldest that is awaited is not run any more", async () => {
  await using app = await startApp();
  await using client = await RawClient.connect(app.port);
  await client.hello();
  await callValue(client, 1, "entries.add", { label: "a" });
  await callValue(client, 2, "entries.add", { label: "b" });
  const { error } = await rawCall(client, 1, {
    name: "entries.add",
    args: { label: "a" },
    resent: true,
  });
  assert.equal(error?.code, "unknown");
  assert.equal(error?.outcome, "unknown");
  assert.deepEqual((await app.entries.get()).items, ["a", "b"]);
});

Deno.test("a refused write is refused again by another server, though it would be taken by now", async () => {
  await using kv = await tempKvPath();
  const define = (server: Server) => {
    const seats = server.createStore("Seats", { free: 0, taken: 0 });
    server.handle("seats.take", async () => {
      await seats.update((draft) => {
        if (draft.free === 0) throw new Error("No seat is free");
        draft.free--;
        draft.taken++;
      });
    });
    server.handle("seats.add", async () => {
      await seats.update((draft) => void draft.free++);
    });
  };
  await using first = await startApp({ kv: kv.path, define });
  await using client = await RawClient.connect(first.port);
  const { session } = await client.hello();
  const refused = await rawCall(client, 1, { name: "seats.take" });
  assert.equal(refused.error?.message, "No seat is free");
  await rawCall(client, 2, { name: "seats.add", oldest: 1 });
  await using second = await startApp({ kv: kv.path, define });
  await using back = await RawClient.connect(second.port);
  await back.hello({ session });
  const again = await rawCall(back, 1, { name: "seats.take", resent: true });
  assert.equal(again.error?.message, "No seat is free");
  // Another call is another matter.
  assert.equal(
    (await rawCall(back, 3, { name: "seats.take", oldest: 1 })).error,
    undefined,
  );
});

Deno.test("where a server does not know the session, what was sent is unknown and what was not is sent", async () => {
  const gate = Promise.withResolvers<void>();
  const running = Promise.withResolvers<void>();
  const first = await startApp({
    define: (server) =>
      server.handle("slow", () => {
        running.resolve();
        return gate.promise;
      }),
  });
  const { port } = first;
  await using proxy = await startProxy(port);
  using client = connectClient(proxy.port, { rpcTimeoutMs: 30_000 });
  await client.ready();
  const sent = client.call("slow");
  await running.promise;
  proxy.refuse(true);
  proxy.cut();
  await until(() => client.status === "reconnecting");
  const unsent = client.call("entries.add", { label: "a" });
  gate.resolve();
  await first.server.close();
  // Another KV: it has another secret, and none of what the first one wrote.
  await using second = await startApp({
    listen: { port },
    define: (server) =>
      server.handle("slow", () => assert.fail("it was sent again")),
  });
  proxy.refuse(false);
  await assert.rejects(sent, { code: "unknown", outcome: "unknown" });
  assert.equal(await unsent, 1);
  assert.deepEqual((await second.entries.get()).items, ["a"]);
});

Deno.test("a client whose calls were cut off tells how many are not acknowledged", async () => {
  await using app = await startApp();
  await using proxy = await startProxy(app.port);
  using client = connectClient(proxy.port);
  await client.ready();
  proxy.refuse(true);
  proxy.cut();
  await until(() => client.status === "reconnecting");
  const calls = ["a", "b", "c"].map((label) =>
    client.call<number>("entries.add", { label })
  );
  assert.equal(client.unackedCount, 3);
  proxy.refuse(false);
  assert.deepEqual(
    await within(Promise.all(calls), { describe: () => client.status }),
    [1, 2, 3],
  );
  assert.equal(client.unackedCount, 0);
});
