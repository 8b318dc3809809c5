/**
 * Calls that are sent again: after a connection that was cut in the middle of a
 * frame, to another server, after a restart. Each takes effect once, and gives
 * what it gave the first time.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
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
  const { conflicts } = {
    conflicts: (await second.entries.get()).items.length,
  };
  assert.equal(conflicts, count);
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

Deno.test("a refused write is refused again, though it would be taken by now", async () => {
  await using app = await startApp({
    define: (server) => {
      const seats = server.createStore("Seats", { free: 0, taken: 0 });
      server.handle("seats.take", async () => {
        await seats.update((draft) => {
          if (draft.free === 0) throw new Error("No seat is free");
          draft.free--;
          draft.taken++;
        });
      });
      server.handle(
        "seats.add",
        async () => void await seats.update((draft) => void draft.free++),
      );
    },
  });
  await using kept = await RawClient.connect(app.port);
  const { session } = await kept.hello();
  const first = await rawCall(kept, 1, { name: "seats.take" });
  assert.equal(first.error?.message, "No seat is free");
  await using other = await RawClient.connect(app.port);
  await other.hello();
  await rawCall(other, 1, { name: "seats.add" });
  await using back = await RawClient.connect(app.port);
  await back.hello({ session });
  const second = await rawCall(back, 1, { name: "seats.take", resent: true });
  assert.equal(second.error?.message, "No seat is free");
});

Deno.test("a session that the server does not know leaves the client's calls unknown, and is not applied", async () => {
  await using app = await startApp();
  await using proxy = await startProxy(app.port);
  using client = connectClient(proxy.port);
  await client.ready();
  await using other = await startApp();
  await using client2 = await RawClient.connect(other.port);
  const { session } = await client2.hello();
  await using raw = await RawClient.connect(app.port);
  const welcome = await raw.hello({ session });
  assert.equal(welcome.resumed, false, "another KV has another secret");
  assert.notEqual(welcome.session, session);
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
