import assert from "node:assert/strict";
import fc from "fast-check";
import { SeededRandom } from "../adapters/testing/seeded_random.ts";
import {
  KvDatabase,
  KvU64,
  type SimulatedKvOptions,
} from "../adapters/testing/simulated_kv.ts";
import type { Kv, KvEntry, KvKey } from "../server/ports.ts";
import { FakeClock } from "./_fake_clock.ts";
import { JumpingClock } from "./_jumping_clock.ts";
import { kvContract } from "./_kv_contract.ts";

for (const isLocal of [true, false]) {
  kvContract(`KvDatabase (${isLocal ? "local" : "remote"})`, () => {
    const database = openDatabase();
    if (!isLocal) database.faults.latencyMs = [0, 5];
    const opened = database.open({ isLocal }).toOpened();
    return Promise.resolve({
      ...opened,
      async [Symbol.asyncDispose]() {
        await opened.close();
        assert.equal(database.pending, 0, "nothing is left under way");
        assert.equal(database.watches, 0, "no watch is left");
      },
    });
  }, { isLocal });
}

Deno.test("KvDatabase does what Deno KV does, step by step", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 25 }),
      async (steps) => {
        const real = await Deno.openKv(":memory:");
        try {
          const expected = await play(real, steps, (n) => new Deno.KvU64(n));
          const kv = openDatabase().open();
          assert.deepEqual(
            await play(kv, steps, (n) => new KvU64(n)),
            expected,
          );
        } finally {
          real.close();
        }
      },
    ),
    { numRuns: 150 },
  );
});

Deno.test("KvDatabase measures keys and atomic operations as Deno KV does", async () => {
  const real = await Deno.openKv(":memory:");
  const simulated = openDatabase().open();
  const long = (i: number) => ["n".repeat(1988), i]; // 1,999 bytes
  const value = new Uint8Array(65_536);
  const edges: ((kv: Kv, size: number) => Promise<unknown>)[] = [
    (kv, n) => many(kv, 40 + n, (all, i) => all.set(long(i), value.slice(40))),
    (kv, n) => many(kv, 40 + n, (all, i) => all.set(long(i), new Uint8Array())),
    (kv, n) => many(kv, 40 + n, (all, i) => all.sum([...long(i), true], 1n)),
    (kv, n) => many(kv, 409 + n, (all, i) => all.delete(long(i))),
    (kv, n) => many(kv, 1_000 + n, (all, i) => all.delete(["n", i])),
    (kv, n) =>
      many(
        kv,
        100 + n,
        (all, i) => all.check({ key: ["n", i], versionstamp: null }),
      ),
    (kv, n) =>
      many(
        kv,
        12,
        (all) => all.set(["a"], value),
        (all) => all.set(["b"], new Uint8Array(32_690 + n)),
      ),
    (kv, n) =>
      many(
        kv,
        10,
        (all, i) => all.check({ key: long(i), versionstamp: null }),
        (all) => {
          for (let i = 0; i < 12; i++) all.set(["a"], value);
          all.set(["b"], new Uint8Array(12_700 + n));
        },
      ),
    (kv, n) => kv.get(["x".repeat(2_046 + n)]),
    (kv, n) => list(kv, { prefix: ["x".repeat(2_046 + n)] }),
    (kv, n) => list(kv, { start: ["a"], end: ["x".repeat(2_047 + n)] }),
    (kv, n) => list(kv, { prefix: ["a"], start: ["a", "x".repeat(2_044 + n)] }),
    (kv, n) => kv.getMany(Array.from({ length: 10 + n }, (_, i) => ["n", i])),
    (kv, n) => list(kv, { prefix: ["n"] }, { batchSize: 1_000 + n }),
    (kv, n) => list(kv, { prefix: ["n"] }, { batchSize: n || -1 }),
    (kv, n) =>
      kv.atomic().check({ key: ["z"], versionstamp: "z".repeat(20 + n) })
        .commit(),
    (kv, n) => kv.atomic().set(n ? [] : ["n"], new Uint8Array()).commit(),
    ...[
      "é",
      "\0",
      "\ud800",
      1.5,
      -0,
      NaN,
      0n,
      -1n,
      255n,
      -256n,
      2n ** 64n - 1n,
      -(2n ** 64n),
      2n ** 100n,
      true,
      new Uint8Array([0, 1, 255]),
    ].flatMap((part) =>
      // Where exactly a key with this part becomes too long.
      Array.from({ length: 20 }, (_, i) => (kv: Kv, n: number) =>
        kv.atomic().delete(["x".repeat(2_026 + i + n), part]).commit())
    ),
  ];
  try {
    for (const [index, edge] of edges.entries()) {
      for (const beyond of [0, 1]) {
        assert.equal(
          await outcome(() => edge(simulated, beyond)),
          await outcome(() => edge(real, beyond)),
          `edge ${index}, ${beyond} beyond`,
        );
      }
    }
  } finally {
    real.close();
  }
});

Deno.test("KvDatabase takes 10 checks where it is told to, as denokv does", async () => {
  const kv = openDatabase({ maxChecks: 10 }).open();
  const check = (count: number) =>
    many(
      kv,
      count,
      (all, i) => all.check({ key: ["n", i], versionstamp: null }),
    );
  await check(10);
  await assert.rejects(check(11), /Too many checks \(max 10\)/);
});

Deno.test("KvDatabase refuses what other runtimes could not read", () => {
  const atomic = openDatabase().open().atomic();
  assert.throws(() => atomic.set(["a"], { text: "" }), TypeError);
  assert.throws(() => atomic.set(["a"], "text"), TypeError);
});

Deno.test("KvDatabase gives the same run for the same seed", async () => {
  const [one, again, other] = [await trace(7), await trace(7), await trace(8)];
  assert.ok(one.length > 200, `${one.length} lines`);
  assert.deepEqual(again, one);
  assert.notDeepEqual(other, one);
});

Deno.test("KvDatabase takes effect between the two ways of an operation", async () => {
  const { clock, database, kv } = start();
  database.faults.latencyMs = [10, 10];
  const answers: string[] = [];
  kv.atomic().set(["a"], new Uint8Array([1])).commit()
    .then(() => answers.push("committed"));
  await clock.advance(9);
  assert.deepEqual(database.entries(), []);
  await clock.advance(1);
  assert.deepEqual(database.entries().map(({ key }) => key), [["a"]]);
  assert.deepEqual(answers, []);
  assert.equal(database.pending, 1);
  await clock.advance(10);
  assert.deepEqual(answers, ["committed"]);
  assert.equal(database.pending, 0);
});

Deno.test("KvDatabase.onCommit() is told of each commit as it takes effect", async () => {
  const { clock, database, kv } = start();
  const told: unknown[] = [];
  database.onCommit = ({ handle, versionstamp, writes }) => {
    assert.equal(handle, kv);
    for (const { key, value } of writes) {
      assert.equal(
        database.entries().find((entry) => entry.key[0] === key[0])
          ?.versionstamp,
        value ? versionstamp : undefined,
        "it has taken effect",
      );
    }
    told.push(writes);
  };
  void kv.atomic().set(["a"], new Uint8Array([1])).set(
    ["b"],
    new Uint8Array([1]),
  )
    .sum(["c"], 2n).commit();
  await clock.advance(0);
  void kv.atomic().delete(["a"]).delete(["none"]).delete(["b"])
    .set(["b"], new Uint8Array([2])).sum(["c"], 2n).commit();
  void kv.atomic().check({ key: ["b"], versionstamp: null }).delete(["b"])
    .commit();
  await clock.advance(0);
  assert.deepEqual(told, [
    [
      { key: ["a"], value: new Uint8Array([1]) },
      { key: ["b"], value: new Uint8Array([1]) },
      { key: ["c"], value: new KvU64(2n) },
    ],
    [
      { key: ["a"], value: null },
      { key: ["none"], value: null },
      { key: ["b"], value: new Uint8Array([2]) },
      { key: ["c"], value: new KvU64(4n) },
    ],
  ]);
});

Deno.test("KvDatabase gives everybody bytes of their own", async () => {
  const { clock, database, kv } = start();
  const part = new Uint8Array([7]);
  void kv.atomic().set(["a"], new Uint8Array([1])).set([part], part).commit();
  part[0] = 9;
  await clock.advance(0);
  assert.deepEqual(database.entries()[0], {
    ...database.entries()[0],
    key: [new Uint8Array([7])],
    value: new Uint8Array([7]),
  });
  for (let round = 0; round < 2; round++) {
    const getting = kv.get(["a"]);
    await clock.advance(0);
    const { value } = await getting;
    assert.deepEqual(value, new Uint8Array([1]));
    if (value instanceof Uint8Array) value[0] = 9;
    const [, entry] = database.entries();
    if (entry?.value instanceof Uint8Array) entry.value[0] = 9;
  }
});

Deno.test("expireIn removes an entry up to a minute late, and rings no watch", async () => {
  const lateMs: number[] = [];
  for (let seed = 1; seed <= 20; seed++) {
    const { clock, database, kv } = start({ seed, isPunctual: false });
    const events: KvEntry[][] = [];
    void collect(kv.watch([["a"]]), events);
    const expired: KvKey[] = [];
    database.onExpire = (keys) => void expired.push(...keys);
    void kv.atomic()
      .set(["a"], new Uint8Array([1]), { expireIn: 5_000 })
      .set(["kept"], new Uint8Array([1]), { expireIn: 5_000 })
      .set(["kept"], new Uint8Array([2])).commit();
    for (const ms of [1, 1, 4_997]) await clock.advance(ms);
    assert.equal(database.entries().length, 2);
    const told = events.length;
    while (database.entries().length === 2) await clock.advance(500);
    lateMs.push(clock.monotonic() - 5_000);
    await clock.advance(120_000);
    assert.deepEqual(database.entries().map(({ key }) => key), [["kept"]]);
    assert.deepEqual(expired, [["a"]]);
    assert.deepEqual(events.at(-1)?.[0]?.value, new Uint8Array([1]));
    assert.equal(events.length, told, "nothing is told of the end");
    kv.close();
  }
  assert.ok(Math.max(...lateMs) > 40_000, `${lateMs}`);
  assert.ok(Math.max(...lateMs) <= 60_500, `${lateMs}`);
  assert.ok(Math.min(...lateMs) < 20_000, `${lateMs}`);
});

Deno.test("expireIn counts from the wall clock of the process, as Deno KV's does", async () => {
  const { clock, database } = start();
  const behind = new FakeClock(clock.now() - 60_000);
  const kv = database.open({ clock: behind });
  void kv.atomic().set(["a"], new Uint8Array(), { expireIn: 59_000 }).commit();
  await clock.advance(0);
  assert.deepEqual(database.entries(), []);
});

Deno.test("list() mixes moments beyond a batch, and never within one", async () => {
  for (const batchSize of [100, 4]) {
    const { clock, database, kv } = start();
    const put = (value: number) => {
      const atomic = kv.atomic();
      for (let i = 0; i < 10; i++) {
        atomic.set(["n", i], new Uint8Array([value]));
      }
      void atomic.commit();
    };
    put(1);
    await clock.advance(0);
    database.faults.latencyMs = [1, 1];
    const listing = Array.fromAsync(
      kv.list({ prefix: ["n"] }, { batchSize }),
      ({ value }) => (value as Uint8Array)[0], // as put() wrote it
    );
    await clock.advance(1);
    put(2);
    await clock.advance(20);
    assert.deepEqual(
      await listing,
      batchSize === 4 ? [1, 1, 1, 1, 2, 2, 2, 2, 2, 2] : Array(10).fill(1),
    );
  }
});

Deno.test("watch() skips what came between, and tells the last state", async () => {
  const { clock, database, kv } = start();
  database.faults.latencyMs = [10, 10];
  const events: KvEntry[][] = [];
  const ended = collect(kv.watch([["a"], ["b"]]), events);
  await clock.advance(20);
  for (let i = 1; i <= 50; i++) {
    void kv.atomic().set(["a"], new Uint8Array([i])).commit();
    void kv.atomic().set(["other"], new Uint8Array([i])).commit();
    await clock.advance(1);
  }
  await clock.advance(30);
  const told = events.map(([a]) => (a?.value as Uint8Array | null)?.[0]); // as written
  assert.equal(told[0], undefined);
  assert.equal(told.at(-1), 50);
  assert.ok(told.length > 3 && told.length < 12, `${told}`);
  const later = told.slice(1);
  assert.deepEqual(later, later.toSorted((a = 0, b = 0) => a - b));
  kv.close();
  await ended;
});

Deno.test("watch() tells one commit once, and nothing where nothing changed", async () => {
  const { clock, kv } = start();
  const events: KvEntry[][] = [];
  void collect(kv.watch([["a"], ["b"]]), events);
  await clock.advance(0);
  const one = new Uint8Array([1]);
  void kv.atomic().set(["a"], one).set(["b"], one).commit();
  for (let step = 0; step < 5; step++) await clock.advance(1);
  assert.equal(events.length, 2);
  void kv.atomic().set(["c"], one).delete(["c"]).commit();
  for (let step = 0; step < 5; step++) await clock.advance(1);
  assert.equal(events.length, 2);
  kv.close();
});

Deno.test("watch() keeps no more than one state for who does not read", async () => {
  const { clock, kv } = start();
  const reader = kv.watch([["a"]]).getReader();
  await clock.advance(0);
  for (let i = 1; i <= 50; i++) {
    void kv.atomic().set(["a"], new Uint8Array([i])).commit();
    await clock.advance(0);
  }
  const read = async () => (await reader.read()).value?.[0]?.value;
  assert.deepEqual(
    [await read(), await read()],
    [null, new Uint8Array([50])],
  );
  await reader.cancel();
});

Deno.test("KvDatabase.restore() brings back what was, versionstamps and all", async () => {
  const { clock, database, kv } = start();
  const set = async (value: number) => {
    const committing = kv.atomic().set(["a"], new Uint8Array([value])).commit();
    await clock.advance(0);
    const result = await committing;
    return result.ok && result.versionstamp;
  };
  const first = await set(1);
  const backup = database.backup();
  const second = await set(2);
  database.restore(backup);
  assert.deepEqual(database.entries(), [
    { key: ["a"], value: new Uint8Array([1]), versionstamp: first },
  ]);
  assert.equal(await set(3), second, "a stamp is given a second time");
  database.restore(backup);
  assert.equal(
    database.entries()[0]?.versionstamp,
    first,
    "the backup is whole",
  );
});

function openDatabase(
  options: Partial<SimulatedKvOptions> = {},
): KvDatabase {
  return new KvDatabase({
    clock: new JumpingClock(),
    random: new SeededRandom(1),
    ...options,
  });
}

/** A database whose time stands still until the test moves it. */
function start({ seed = 1, isPunctual = true } = {}) {
  const clock = new FakeClock();
  const database = new KvDatabase({
    clock,
    random: new SeededRandom(seed),
    ...(isPunctual && { expiryLateMs: [0, 0] as const }),
  });
  return { clock, database, kv: database.open() };
}

async function collect(
  stream: ReadableStream<KvEntry[]>,
  events: KvEntry[][],
): Promise<void> {
  for await (const event of stream) events.push(event);
}

async function many(
  kv: Kv,
  count: number,
  add: (atomic: ReturnType<Kv["atomic"]>, index: number) => unknown,
  last: (atomic: ReturnType<Kv["atomic"]>) => unknown = () => {},
): Promise<unknown> {
  const atomic = kv.atomic();
  for (let i = 0; i < count; i++) add(atomic, i);
  last(atomic);
  return await atomic.commit();
}

async function list(
  kv: Kv,
  ...args: Parameters<Kv["list"]>
): Promise<KvEntry[]> {
  return await Array.fromAsync(kv.list(...args));
}

async function outcome(run: () => Promise<unknown>): Promise<string> {
  try {
    await run();
    return "done";
  } catch (error) {
    return messageOf(error);
  }
}

function messageOf(error: unknown): string {
  assert.ok(error instanceof Error);
  return `${error.name}: ${error.message}`;
}

/** A busy hour with every fault, as text. */
async function trace(seed: number): Promise<string[]> {
  const clock = new JumpingClock();
  const random = new SeededRandom(seed);
  const database = new KvDatabase({ clock, random });
  const lines: string[] = [];
  const note = (line: string) =>
    void lines.push(`${clock.monotonic().toFixed(3)} ${line}`);
  database.onCommit = ({ versionstamp, writes }) =>
    note(`${versionstamp} ${writes.map(({ key }) => key.join("/"))}`);
  Object.assign(database.faults, {
    latencyMs: [1, 5],
    spike: { chance: 0.1, ms: [100, 1_000] },
    locked: 0.05,
    lockedAfter: 0.05,
    throwsBefore: 0.05,
    throwsAfter: 0.05,
    landsLate: { chance: 0.1, ms: [50, 500] },
    hangs: 0.02,
    resends: 0.05,
    watch: "late",
  });
  const handles = [database.open(), database.open()];
  const watching = handles.map((kv) =>
    outcome(async () => {
      for await (const [entry] of kv.watch([["bell"]])) {
        note(`bell ${entry?.versionstamp}`);
      }
    })
  );
  const work = handles.flatMap((kv, who) =>
    Array.from({ length: 20 }, async (_, task) => {
      for (let i = 0; i < 5; i++) {
        const result = await outcome(async () => {
          const { versionstamp } = await kv.get(["a", task]);
          const { ok } = await kv.atomic()
            .check({ key: ["a", task], versionstamp })
            .set(["a", task], new Uint8Array([who, i]), { expireIn: 300 })
            .sum(["bell"], 1n).commit();
          note(`${who} ${task} ${i} ${ok}`);
        });
        note(`${who} ${task} ${i} ${result}`);
      }
    })
  );
  clock.setTimer(60_000, () => database.faults.heal());
  await Promise.all(work);
  for (const kv of handles) kv.close();
  await Promise.all(watching);
  return lines;
}

const key: fc.Arbitrary<KvKey> = fc.constantFrom<KvKey>(
  ["k", ""],
  ["k", "a"],
  ["k", "a", "b"],
  ["k", "a", 1n],
  ["k", "a\0b"],
  ["k", "é"],
  ["k", "\u{1f600}"],
  ["k", "\ud800"],
  ["k", 0],
  ["k", -1.5],
  ["k", 255n],
  ["k", -1n],
  ["k", -256n],
  ["k", -(2n ** 70n)],
  ["k", true],
  ["k", new Uint8Array([0])],
  ["k", new Uint8Array([255, 0])],
);
const write = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("set"), key }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("delete"), key }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("sum"), key }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("count"), key }) },
);
const check = fc.record({
  key,
  stamp: fc.constantFrom("now", "now", "now", "absent", "old"),
});
const step = fc.oneof(
  fc.record({
    kind: fc.constant("commit" as const),
    checks: fc.array(check, { maxLength: 2 }),
    writes: fc.array(write, { maxLength: 4 }),
  }),
  fc.record({
    kind: fc.constant("get" as const),
    keys: fc.array(key, { maxLength: 3 }),
  }),
  fc.record({
    kind: fc.constant("list" as const),
    start: fc.option(key),
    end: fc.option(key),
    prefix: fc.option(fc.oneof(key, fc.constant<KvKey>([]))),
    options: fc.record({
      limit: fc.integer({ min: 1, max: 5 }),
      batchSize: fc.integer({ min: 1, max: 5 }),
      reverse: fc.boolean(),
    }, { requiredKeys: [] }),
  }),
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** What each step gave; a versionstamp is the number of the commit that made it. */
async function play(
  kv: Kv,
  steps: readonly Step[],
  counter: (n: bigint) => unknown,
): Promise<unknown[]> {
  const stamps: string[] = [];
  const seen = ({ key, value, versionstamp }: KvEntry) => {
    const stamp = versionstamp === null ? -1 : stamps.indexOf(versionstamp);
    // A commit that threw in its middle has left entries, and told nobody its stamp.
    if (versionstamp !== null && stamp < 0) stamps.push(versionstamp);
    // What is no bytes is a counter, of either kind.
    const counter = value as { value: bigint } | null;
    return [key, value instanceof Uint8Array ? value : counter?.value, stamp];
  };
  const run = async (step: Step): Promise<unknown> => {
    if (step.kind === "get") return (await kv.getMany(step.keys)).map(seen);
    if (step.kind === "list") {
      const { prefix, start, end, options } = step;
      const selector = {
        ...(prefix && { prefix }),
        ...(start && { start }),
        ...(end && { end }),
      };
      if (!prefix && !(start && end)) return "not a selector";
      // It has a prefix, or start and end.
      const entries = kv.list(selector as Parameters<Kv["list"]>[0], options);
      return await Array.fromAsync(entries, seen);
    }
    const atomic = kv.atomic();
    for (const { key, stamp } of step.checks) {
      const now = (await kv.get(key)).versionstamp;
      const old = stamps[0] ?? null;
      const versionstamp = { now, old, absent: null }[stamp] ?? null;
      atomic.check({ key, versionstamp });
    }
    for (const [index, { kind, key }] of step.writes.entries()) {
      if (kind === "set") atomic.set(key, new Uint8Array([index]));
      if (kind === "count") atomic.set(key, counter(2n ** 64n - 1n));
      if (kind === "delete") atomic.delete(key);
      if (kind === "sum") atomic.sum(key, 2n);
    }
    const result = await atomic.commit();
    if (result.ok) stamps.push(result.versionstamp);
    return result.ok;
  };
  const results: unknown[] = [];
  for (const step of steps) {
    try {
      results.push(await run(step));
    } catch (error) {
      results.push(messageOf(error));
    }
  }
  results.push((await Array.fromAsync(kv.list({ prefix: [] }))).map(seen));
  return results;
}
