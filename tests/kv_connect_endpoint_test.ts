/** What a remote KV is asked, and with which token: against a far end that says what came. */
import assert from "node:assert/strict";
import { createDenoHttpClient } from "../adapters/deno_http_client.ts";
import { RemoteKv } from "../adapters/kv_connect/kv.ts";
import { FakeKvConnect } from "./_fake_kv_connect.ts";
import { until, within } from "./_harness.ts";

const ONE = new Uint8Array([1]);
/** What `QUESTIONS` in the endpoint says. */
const QUESTIONS = 64;

async function openFake(
  prepare: (far: FakeKvConnect) => void = () => {},
): Promise<{ kv: RemoteKv; far: FakeKvConnect } & AsyncDisposable> {
  const far = new FakeKvConnect();
  prepare(far);
  const kv = await RemoteKv.open(far.url, {
    token: "ours",
    createClient: createDenoHttpClient,
    silenceMs: 300,
  });
  return {
    kv,
    far,
    async [Symbol.asyncDispose]() {
      kv.close();
      await far[Symbol.asyncDispose]();
    },
  };
}

Deno.test("RemoteKv: what is set with expireIn carries the time at which it ends, the rest none", async () => {
  await using opened = await openFake();
  const { kv, far } = opened;
  const beforeMs = Date.now();
  await kv.atomic()
    .set(["soon"], ONE, { expireIn: 60_000.5 })
    .set(["ever"], ONE)
    .set(["late"], ONE, { expireIn: 86_400_000 })
    .commit();
  const afterMs = Date.now();
  const [soon, ever, late] = far.sets;
  assert.ok(soon && ever && late);
  assert.deepEqual([soon, ever, late].map(({ key }) => key), [
    ["soon"],
    ["ever"],
    ["late"],
  ]);
  assert.equal(ever.expireAtMs, 0);
  for (const [set, ms] of [[soon, 60_000.5], [late, 86_400_000]] as const) {
    assert.deepEqual(set.bytes, ONE);
    assert.ok(Number.isInteger(set.expireAtMs));
    assert.ok(set.expireAtMs >= beforeMs + ms, `${set.expireAtMs}`);
    assert.ok(set.expireAtMs <= afterMs + ms + 1, `${set.expireAtMs}`);
  }
});

Deno.test("Endpoint asks for one token, and for another in the last minute of that one", async () => {
  await using opened = await openFake();
  const { kv, far } = opened;
  for (let n = 0; n < 5; n++) await kv.get(["a"]);
  await kv.atomic().set(["a"], ONE).commit();
  assert.equal(far.asked.tokens, 1);
  // One that has less than a minute is good for the question that asked for it.
  await using brief = await openFake((far) => far.tokenMs = 30_000);
  assert.equal(brief.far.asked.tokens, 1);
  await brief.kv.get(["a"]);
  await brief.kv.get(["a"]);
  assert.equal(brief.far.asked.tokens, 3);
  brief.far.tokenMs = 75_000;
  await brief.kv.get(["a"]);
  await brief.kv.get(["a"]);
  assert.equal(brief.far.asked.tokens, 4);
});

for (const status of [401, 403] as const) {
  Deno.test(`Endpoint replaces a token that is refused with ${status} before its time: a read does not notice, a write throws once`, async () => {
    await using opened = await openFake();
    const { kv, far } = opened;
    await kv.get(["a"]);
    far.revoke(status);
    const read = kv.get(["a"]);
    await within(read, { ms: 2_000, describe: () => "a read" });
    assert.deepEqual([far.asked.tokens, far.asked.reads], [2, 2]);
    far.revoke(status);
    // It is for who wrote it to find out that nothing was written.
    const commit = () => kv.atomic().set(["a"], ONE).commit();
    await assert.rejects(commit(), {
      message: `status ${status}: Invalid token`,
    });
    assert.equal(far.asked.writes, 0);
    assert.ok((await commit()).ok);
    assert.deepEqual([far.asked.tokens, far.asked.writes], [3, 1]);
  });
}

Deno.test("Endpoint asks no more than 64 questions at once, and all of them in the end", async () => {
  await using opened = await openFake();
  const { kv, far } = opened;
  const gate = Promise.withResolvers<void>();
  // Opened also where the test fails: the far end waits for what it has not answered.
  using _ = { [Symbol.dispose]: () => gate.resolve() };
  far.beforeRead = () => gate.promise;
  const reads = Promise.all(
    Array.from({ length: 3 * QUESTIONS }, () => kv.get(["a"])),
  );
  reads.catch(() => {}); // told below, or ended by an assertion before
  await until(() => far.reading.now >= QUESTIONS, {
    describe: () => JSON.stringify(far.reading),
  });
  // Had more been sent they would be there before these.
  for (let n = 0; n < 20; n++) {
    await (await fetch(`${far.url}/`, { method: "POST" })).body?.cancel();
  }
  assert.equal(far.reading.now, QUESTIONS);
  gate.resolve();
  await within(reads, { describe: () => JSON.stringify(far.reading) });
  assert.equal(far.asked.reads, 3 * QUESTIONS);
  assert.equal(far.reading.most, QUESTIONS);
});

Deno.test("Watch: a connection on which nothing comes is given up for another, with the token of then", async () => {
  await using opened = await openFake();
  const { kv, far } = opened;
  const watch = kv.watch([["bell"]]).getReader();
  const rung = async () =>
    assert.deepEqual((await watch.read()).value, [
      { key: ["bell"], value: null, versionstamp: null },
    ]);
  await rung();
  assert.equal(far.asked.watches, 1);
  far.revoke(401);
  const again = Promise.all([rung(), until(() => far.asked.watches >= 2)]);
  await within(again, { describe: () => JSON.stringify(far.asked) });
  assert.equal(far.asked.tokens, 2);
  await watch.cancel();
});
