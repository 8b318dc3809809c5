import assert from "node:assert/strict";
import { SeededRandom } from "../adapters/testing/seeded_random.ts";
import { KvDatabase, type KvHandle } from "../adapters/testing/simulated_kv.ts";
import type { Kv, KvAtomic, KvEntry } from "../server/ports.ts";
import { FakeClock } from "./_fake_clock.ts";

const LOST = "The connection to the database was lost";
const LOCKED = "database is locked";

Deno.test("latencyMs draws how long each way takes", async () => {
  const { database, time } = start();
  database.faults.latencyMs = [10, 20];
  const tookMs: number[] = [];
  for (let i = 0; i < 200; i++) {
    const startedMs = time.monotonic();
    await answered(time, set(database.open(), i), { stepMs: 0.5 });
    tookMs.push(time.monotonic() - startedMs);
  }
  assert.ok(Math.min(...tookMs) >= 20 && Math.min(...tookMs) < 24);
  assert.ok(Math.max(...tookMs) <= 41 && Math.max(...tookMs) > 36);
});

Deno.test("spike delays some, so that a commit lands after its maker gave up", async () => {
  const { database, kv, time } = start();
  database.faults.spike = { chance: 0.5, ms: [5_000, 6_000] };
  const commits = Array.from({ length: 100 }, (_, i) => outcome(set(kv, i)));
  await time.advance(100);
  const soon = database.entries().length;
  assert.ok(soon > 30 && soon < 70, `${soon}`);
  await time.advance(4_800);
  assert.equal(database.entries().length, soon);
  await time.advance(10_000);
  assert.equal(database.entries().length, 100);
  assert.ok((await Promise.all(commits)).every((said) => said === "ok"));
});

Deno.test("locked throws what SQLite does, without effect", async () => {
  await eachOperation({ locked: 1 }, { says: LOCKED, hasEffect: false });
  const { kv, time } = start({ locked: 1 });
  await assert.rejects(answered(time, set(kv, 1)), TypeError);
});

Deno.test("lockedAfter throws the same though it took effect", async () => {
  await eachOperation({ lockedAfter: 1 }, { says: LOCKED, hasEffect: true });
});

Deno.test("throwsBefore throws without effect", async () => {
  await eachOperation({ throwsBefore: 1 }, { says: LOST, hasEffect: false });
});

Deno.test("throwsAfter takes effect and throws", async () => {
  await eachOperation({ throwsAfter: 1 }, { says: LOST, hasEffect: true });
});

Deno.test("outage throws, and ends when it is told to", async () => {
  await eachOperation({ outage: true }, { says: LOST, hasEffect: false });
  const { database, kv, time } = start({ outage: true });
  const events = collect(kv);
  await time.advance(10);
  assert.equal((await events.ended)?.message, LOST, "no watch can be opened");
  database.faults.outage = false;
  assert.equal(await outcome(answered(time, set(kv, 1))), "ok");
});

Deno.test("a chance is met about as often as it says", async () => {
  const { database, kv, time } = start({
    throwsBefore: 0.2,
    throwsAfter: 0.25,
  });
  const said = await Promise.all(
    Array.from({ length: 1_000 }, async (_, i) => {
      return await outcome(answered(time, set(kv, i), { stepMs: 0 }));
    }),
  );
  const failed = said.filter((what) => what === LOST).length;
  assert.ok(failed > 340 && failed < 460, `${failed}`);
  const landed = database.entries().length;
  assert.ok(landed > 760 && landed < 840, `${landed}`);
});

Deno.test("landsLate rejects a commit that takes effect later", async () => {
  const { database, kv, time } = start({
    landsLate: { chance: 1, ms: [1_000, 2_000] },
  });
  assert.equal(await outcome(answered(time, set(kv, 1))), LOST);
  assert.equal(database.pending, 1, "it is still on its way");
  await time.advance(900);
  assert.equal(database.entries().length, 0);
  await time.advance(1_200);
  assert.equal(database.entries().length, 1);
  assert.equal(database.pending, 0);
  assert.ok(await answered(time, kv.get(["a", 1])), "reads are not meant");
});

Deno.test("landsLate is lost if there is an outage when it lands", async () => {
  const { database, kv, time } = start({
    landsLate: { chance: 1, ms: [5, 5] },
  });
  assert.equal(await outcome(answered(time, set(kv, 1), { stepMs: 0 })), LOST);
  database.faults.outage = true;
  await time.advance(10);
  assert.equal(database.entries().length, 0);
  assert.equal(database.pending, 0);
});

Deno.test("hangs gives no answer until the handle is closed", async () => {
  const { database, kv, time } = start({ hangs: 1 });
  const commits = Array.from({ length: 100 }, (_, i) => outcome(set(kv, i)));
  await time.advance(3_600_000);
  assert.equal(database.pending, 100);
  const landed = database.entries().length;
  assert.ok(landed > 30 && landed < 70, `${landed} took effect`);
  kv.close();
  assert.equal(database.pending, 0);
  for (const said of await Promise.all(commits)) {
    assert.equal(said, "Database is closed.");
  }
});

Deno.test("heal() answers what hangs by what became of it, and ends all faults", async () => {
  const { database, kv, time } = start({ hangs: 1, isWatchShared: false });
  const other = database.open();
  kv.faults.throwsBefore = 1;
  other.faults.locked = 0;
  const commits = Array.from({ length: 50 }, (_, i) => outcome(set(other, i)));
  await time.advance(10);
  database.faults.heal();
  await time.advance(0);
  assert.equal(database.pending, 0);
  const said = await Promise.all(commits);
  const landed = new Set(database.entries().map(({ key }) => key[1]));
  assert.deepEqual(said, said.map((_, i) => landed.has(i) ? "ok" : LOST));
  assert.ok(landed.size > 10 && landed.size < 40);
  assert.equal(await outcome(answered(time, set(kv, 99))), "ok");
  assert.equal(database.faults.hangs, 0);
  assert.equal(database.faults.isWatchShared, false, "a trait and no fault");
});

Deno.test("resends lets a commit meet itself", async () => {
  const { database, kv, time } = start({ resends: 1 });
  const commit = kv.atomic().check({ key: ["a"], versionstamp: null })
    .set(["a"], new Uint8Array()).commit();
  assert.deepEqual(await answered(time, commit), { ok: false });
  assert.equal(database.entries().length, 1, "yet it was written");
  assert.equal(database.pending, 0);
  const read = await answered(time, kv.get(["a"]));
  assert.notEqual(read.versionstamp, null);
  const local = database.open({ isLocal: true });
  const { versionstamp } = read;
  const next = local.atomic().check({ key: ["a"], versionstamp })
    .set(["a"], new Uint8Array()).commit();
  assert.equal(
    (await answered(time, next)).ok,
    true,
    "a file is not resent to",
  );
});

Deno.test("faults of a handle are its own, and stand above the database's", async () => {
  const { database, kv, time } = start({ throwsBefore: 1 });
  const other = database.open();
  other.faults.throwsBefore = 0;
  assert.equal(await outcome(answered(time, set(kv, 1))), LOST);
  assert.equal(await outcome(answered(time, set(other, 2))), "ok");
});

Deno.test("close() rejects what is under way, whose commits may still land", async () => {
  const { database, kv, time } = start({ latencyMs: [5, 5] });
  const events = collect(kv);
  await time.advance(20);
  const doing = [set(kv, 1), kv.get(["a", 1]), list(kv)].map(outcome);
  await time.advance(2);
  kv.close();
  assert.deepEqual(
    await Promise.all(doing),
    Array(3).fill("Database is closed."),
  );
  assert.equal(await events.ended, undefined);
  assert.throws(() => kv.close(), { name: "BadResource" });
  assert.throws(() => kv.watch([["a"]]), { name: "BadResource" });
  await assert.rejects(set(kv, 2), { name: "BadResource" });
  await assert.rejects(kv.get(["a", 1]), { name: "BadResource" });
  await assert.rejects(list(kv), { name: "BadResource" });
  assert.equal(database.pending, 1);
  await time.advance(10);
  assert.equal(database.entries().length, 1);
  assert.equal(database.pending, 0);
});

Deno.test("kill() leaves what took effect, and nothing else", async () => {
  const { database, kv, time } = start({ latencyMs: [5, 5] });
  const events = collect(kv);
  await time.advance(10);
  assert.equal(events.got.length, 1);
  const arrived = track(set(kv, 1));
  await time.advance(6);
  const underWay = [set(kv, 2), kv.get(["a", 1]), list(kv)].map(track);
  assert.equal(database.pending, 4);
  assert.equal(database.watches, 1);
  kv.kill();
  assert.equal(database.pending, 0);
  assert.equal(database.watches, 0);
  assert.equal(time.pendingTimers, 0, "its timers are gone");
  // What a dead process asks is for nobody.
  const after = [set(kv, 3), kv.get(["a", 1]), list(kv)].map(track);
  const watch = kv.watch([["a"]]).getReader();
  const read = track(watch.read());
  kv.close();
  kv.close();
  void answered(time, set(database.open(), 4), { stepMs: 0 });
  await time.advance(1_000);
  assert.deepEqual(
    database.entries().map(({ key }) => key[1]),
    [1, 4],
  );
  for (const asked of [arrived, ...underWay, ...after, read]) {
    assert.equal(asked.isSettled, false);
  }
  assert.equal(events.got.length, 1);
});

Deno.test("outlives lets a commit arrive whose process was killed on its way", async () => {
  const { database, kv, time } = start({ latencyMs: [5, 5], outlives: 0.5 });
  const commits = Array.from({ length: 100 }, (_, i) => track(set(kv, i)));
  await time.advance(2);
  kv.kill();
  const left = database.pending;
  assert.ok(left > 30 && left < 70, `${left}`);
  await time.advance(10);
  assert.equal(database.entries().length, left);
  assert.equal(database.pending, 0);
  assert.ok(commits.every(({ isSettled }) => !isSettled));
  const other = database.open();
  other.faults.outlives = 1;
  void set(other, 1);
  await time.advance(6);
  assert.equal(database.pending, 1);
  other.kill();
  assert.equal(
    database.pending,
    0,
    "what took effect has nothing to do any more",
  );
});

Deno.test("onOperation() is called at both moments of each operation, and may kill there", async () => {
  const moments: string[] = [];
  const run = async (killAt: number) => {
    const { database, kv, time } = start();
    let count = 0;
    kv.onOperation = (kind, moment) => {
      if (killAt === 0) {
        moments.push(`${kind} ${moment} ${database.entries().length}`);
      }
      if (++count === killAt) kv.kill();
    };
    let isDone = false;
    void (async () => {
      const reader = kv.watch([["a"]]).getReader();
      await reader.read();
      await set(kv, 1);
      await kv.get(["a", 1]);
      await list(kv, 1);
      await list(kv);
      isDone = true;
      await reader.cancel();
    })();
    for (let step = 0; step < 50; step++) await time.advance(1);
    assert.equal(isDone, killAt === 0, `killed at ${killAt}`);
    assert.equal(count, killAt === 0 ? moments.length : killAt);
    assert.equal(database.pending, 0);
    assert.equal(database.watches, 0);
    return database.entries().length;
  };
  assert.equal(await run(0), 1);
  assert.deepEqual(moments, [
    "watch asked 0",
    "watch applied 0",
    "commit asked 0",
    "commit applied 1",
    "get asked 1",
    "get applied 1",
    "list asked 1",
    "list applied 1",
    // The batch was full, so the range may go on.
    "list asked 1",
    "list applied 1",
    // The other one was not.
    "list asked 1",
    "list applied 1",
  ]);
  const kept: number[] = [];
  for (let at = 1; at <= moments.length; at++) kept.push(await run(at));
  assert.deepEqual(kept, [0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
});

Deno.test("answers and bells come by the clock of the process", async () => {
  const { database, time } = start({ latencyMs: [5, 5] });
  const suspended = new FakeClock();
  const kv = database.open({ clock: suspended });
  const events = collect(kv);
  const commit = track(set(kv, 1));
  await time.advance(1_000);
  assert.equal(database.entries().length, 1);
  assert.equal(commit.isSettled, false);
  assert.equal(events.got.length, 0);
  await suspended.advance(5);
  assert.equal(commit.isSettled, true);
  assert.equal(events.got.length, 1);
  kv.close();
});

Deno.test("watch: late tells after seconds, all that came meanwhile at once", async () => {
  const { database, kv, time } = start({
    watch: "late",
    watchLateMs: [2_000, 3_000],
  });
  const events = collect(kv, ["a", 1]);
  await time.advance(0);
  assert.equal(events.got.length, 1, "the first state is not late");
  for (let i = 0; i < 3; i++) {
    await answered(time, set(kv, 1), { stepMs: 0 });
  }
  await time.advance(1_990);
  assert.equal(events.got.length, 1);
  await time.advance(1_100);
  assert.equal(events.got.length, 2);
  assert.equal(stampOf(events.got[1]), database.entries()[0]?.versionstamp);
  kv.close();
});

Deno.test("watch: dead says its first state and then nothing, until it is healed", async () => {
  const { database, kv, time } = start({ watch: "dead" });
  const other = database.open();
  other.faults.watch = "prompt";
  const events = collect(kv, ["a", 1]);
  const others = collect(other, ["a", 1]);
  await time.advance(0);
  await answered(time, set(kv, 1));
  await time.advance(3_600_000);
  assert.equal(events.got.length, 1);
  assert.equal(others.got.length, 2, "another handle's is well");
  database.faults.heal();
  await time.advance(0);
  assert.equal(events.got.length, 2);
  assert.equal(stampOf(events.got[1]), database.entries()[0]?.versionstamp);
  kv.close();
  other.close();
});

Deno.test("watch: ends at the next change, with or without an error; new ones work", async () => {
  const { database, time } = start();
  const ends: (string | undefined)[] = [];
  for (let i = 0; i < 20; i++) {
    const kv = database.open();
    database.faults.watch = "ends";
    const events = collect(kv, ["a", i]);
    await time.advance(0);
    assert.equal(database.watches, 1);
    await answered(time, set(kv, i));
    assert.equal(events.got.length, 1);
    ends.push((await events.ended)?.message);
    assert.equal(database.watches, 0);
    database.faults.watch = "prompt";
    const next = collect(kv, ["a", i]);
    await time.advance(0);
    await answered(time, set(kv, i));
    assert.equal(next.got.length, 2);
    kv.close();
    assert.equal(await next.ended, undefined);
  }
  assert.deepEqual(new Set(ends), new Set([LOST, undefined]));
});

Deno.test("breakWatches() ends those that are open", async () => {
  const { database, kv, time } = start();
  const events = collect(kv);
  await time.advance(0);
  database.breakWatches();
  await time.advance(0);
  assert.ok([undefined, LOST].includes((await events.ended)?.message));
  assert.equal(database.watches, 0);
  const next = collect(kv);
  await time.advance(0);
  assert.equal(next.got.length, 1);
  kv.close();
});

Deno.test("isWatchShared: false lets a watch see the commits of its own handle only", async () => {
  for (const isWatchShared of [true, false]) {
    const { database, kv, time } = start({ isWatchShared });
    const other = database.open();
    const events = collect(kv, ["a", 1]);
    await time.advance(0);
    await answered(time, set(other, 1));
    assert.equal(events.got.length, isWatchShared ? 2 : 1);
    await answered(time, set(kv, 1));
    assert.equal(events.got.length, isWatchShared ? 3 : 2);
    kv.close();
  }
});

Deno.test("watches are silent in an outage, and go on", async () => {
  const { database, kv, time } = start();
  const other = database.open();
  const events = collect(kv, ["a", 1]);
  await time.advance(0);
  kv.faults.outage = true;
  await answered(time, set(other, 1));
  assert.equal(events.got.length, 1);
  database.faults.heal();
  await time.advance(0);
  assert.equal(events.got.length, 2);
  kv.close();
});

/** A database whose time stands still until the test moves it. */
function start(faults: Partial<KvDatabase["faults"]> = {}) {
  const time = new FakeClock();
  const database = new KvDatabase({ clock: time, random: new SeededRandom(1) });
  Object.assign(database.faults, faults);
  return { time, database, kv: database.open() };
}

/** Asks for each kind of operation, and compares what it says with what it did. */
async function eachOperation(
  faults: Partial<KvDatabase["faults"]>,
  { says, hasEffect }: { says: string; hasEffect: boolean },
): Promise<void> {
  const { database, kv, time } = start(faults);
  const applied: string[] = [];
  kv.onOperation = (kind, moment) => {
    if (moment === "applied") applied.push(kind);
  };
  const asks: (() => Promise<unknown>)[] = [
    () => set(kv, 1),
    () => kv.get(["a", 1]),
    () => list(kv),
  ];
  for (const ask of asks) {
    assert.equal(await outcome(answered(time, ask())), says);
  }
  assert.equal(database.entries().length, hasEffect ? 1 : 0);
  assert.deepEqual(applied, hasEffect ? ["commit", "get", "list"] : []);
  assert.equal(database.pending, 0);
}

function set(kv: Kv, n: number): ReturnType<KvAtomic["commit"]> {
  return kv.atomic().set(["a", n], new Uint8Array([1])).commit();
}

async function list(kv: Kv, batchSize = 100): Promise<KvEntry[]> {
  return await Array.fromAsync(kv.list({ prefix: ["a"] }, { batchSize }));
}

/** Moves time until there is an answer. */
async function answered<T>(
  time: FakeClock,
  asked: Promise<T>,
  { stepMs = 1 }: { stepMs?: number } = {},
): Promise<T> {
  const tracked = track(asked);
  for (let step = 0; !tracked.isSettled; step++) {
    assert.ok(step < 10_000, "no answer");
    await time.advance(stepMs);
  }
  return await asked;
}

function track(asked: Promise<unknown>): { isSettled: boolean } {
  const tracked = { isSettled: false };
  const settled = () => void (tracked.isSettled = true);
  asked.then(settled, settled);
  return tracked;
}

async function outcome(asked: Promise<unknown>): Promise<string> {
  try {
    await asked;
    return "ok";
  } catch (error) {
    assert.ok(error instanceof Error);
    return error.message;
  }
}

/** What a watch tells; `ended` resolves with its error, if any. */
function collect(kv: KvHandle, key: [string, number] = ["a", 0]) {
  const got: KvEntry[][] = [];
  const read = async (): Promise<Error | undefined> => {
    try {
      for await (const event of kv.watch([key])) got.push(event);
      return undefined;
    } catch (error) {
      assert.ok(error instanceof Error);
      return error;
    }
  };
  return { got, ended: read() };
}

function stampOf(event: KvEntry[] | undefined): string | null | undefined {
  return event?.[0]?.versionstamp;
}
