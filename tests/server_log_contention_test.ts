/** Several servers that write to one store, counted: who gets on, at which cost. */
import assert from "node:assert/strict";
import { openDenoKv } from "../adapters/deno_kv.ts";
import { Rivalry } from "../server/log/rivalry.ts";
import { FakeClock } from "./_fake_clock.ts";
import { tempKvPath, until, within } from "./_harness.ts";
import { keyOf, readOf, writes } from "./_kv_faults.ts";
import {
  type Counter,
  entriesOf,
  freshState,
  increment,
  memoryKv,
  openCounter,
} from "./_store_harness.ts";

type CounterNode = Awaited<ReturnType<typeof openCounter>>;

/** Keeps `depth` writes of each server in flight until all have made `commits` together. */
async function compete(
  nodes: readonly CounterNode[],
  { depth, commits }: { depth: number; commits: number },
): Promise<{ commits: number; conflicts: number }[]> {
  const made = () =>
    nodes.reduce((sum, { core }) => sum + core.stores.figures.commits, 0);
  const goal = made() + commits;
  const before = nodes.map(({ core }) => core.stores.figures);
  await within(
    Promise.all(
      nodes.flatMap(({ counter }) =>
        Array.from({ length: depth }, async () => {
          while (made() < goal) await counter.update(increment);
        })
      ),
    ),
    {
      ms: 30_000,
      describe: () =>
        JSON.stringify(nodes.map(({ core }) => core.stores.figures)),
    },
  );
  return nodes.map(({ core }, index) => ({
    commits: core.stores.figures.commits - before[index]!.commits,
    conflicts: core.stores.figures.conflicts - before[index]!.conflicts,
  }));
}

for (const servers of [2, 3]) {
  for (const depth of [1, 16]) {
    Deno.test(`Lane: ${servers} servers with ${depth} writes each to one store all get on, with few conflicts`, async () => {
      // A commit that takes its time: in memory nobody is quick enough to keep others out.
      await using file = await tempKvPath();
      const { kv, close } = await openDenoKv(file.path);
      await using nodes = new AsyncDisposableStack();
      const all: CounterNode[] = [];
      nodes.defer(close);
      for (let n = 0; n < servers; n++) {
        all.push(nodes.use(await openCounter(kv)));
        await all[n]!.counter.init();
      }
      // One is at it already when the others come.
      const [first] = all as [CounterNode];
      await compete([first], { depth, commits: 100 });
      assert.equal(first.core.stores.figures.conflicts, 0);
      const shares = await compete(all, { depth, commits: 900 });
      const text = JSON.stringify(shares);
      const commits = shares.reduce((sum, share) => sum + share.commits, 0);
      const conflicts = shares.reduce((sum, share) => sum + share.conflicts, 0);
      // 900 commits are over in less than a second: nobody may be left out for half of it.
      for (const share of shares) {
        assert.ok(share.commits >= commits / servers / 5, `unfair: ${text}`);
      }
      assert.ok(conflicts <= commits * 0.25 * servers, `conflicts: ${text}`);
    });
  }
}

Deno.test("Lane: a server that writes alone never waits for a rival, and asks for nothing", async () => {
  using kv = await memoryKv();
  await using alone = await openCounter(kv);
  await using reader = await openCounter(kv);
  await alone.counter.init();
  await reader.counter.init();
  await compete([alone], { depth: 4, commits: 300 });
  assert.equal(alone.core.stores.figures.conflicts, 0);
  const commits = alone.kv.commits.filter(({ sets }) => sets.length > 0);
  // Each commit writes a head: none of them only says that it wants to write.
  const asking = commits.filter((commit) =>
    writes("slot")(commit) && !writes("head")(commit)
  );
  assert.equal(asking.length, 0);
  assert.equal(reader.kv.commitsTo(keyOf("slot")).length, 0);
});

Deno.test("Lane: a server that starves says so in its feed, which changes nothing and takes a slot", async () => {
  using kv = await memoryKv();
  await using mine = await openCounter(kv, { isWatchDead: true });
  await using theirs = await openCounter(kv);
  await mine.counter.init();
  await theirs.counter.init();
  // Each time that this server tries, the other one was quicker.
  mine.kv.onCommit(async (run) => {
    await theirs.counter.update(increment);
    return await run();
  }, { match: writes("head"), times: 5 });
  await mine.counter.update(increment);
  const asked = mine.kv.commitsTo(keyOf("slot")).filter((commit) =>
    !writes("head")(commit)
  );
  assert.equal(asked.length, 1, "once, though it lost five times");
  assert.deepEqual(asked[0]!.deletes, []);
  assert.equal(
    await freshState(kv).then((state) => (state as unknown as Counter).n),
    6,
  );
  await until(() => theirs.counter.peek()?.n === 6);
  // Its slots are without a hole: nobody has to check everything.
  const before = theirs.kv.reads.length;
  await mine.counter.update(increment);
  await until(() => theirs.counter.peek()?.n === 7);
  assert.deepEqual(
    theirs.kv.reads.slice(before).filter(readOf("head")),
    [],
  );
});

Deno.test("Lane: a question whose outcome is not known does not stop the feed", async () => {
  using kv = await memoryKv();
  await using mine = await openCounter(kv, { isWatchDead: true });
  await using theirs = await openCounter(kv);
  await mine.counter.init();
  await theirs.counter.init();
  mine.kv.onCommit(async (run) => {
    await theirs.counter.update(increment);
    return await run();
  }, { match: writes("head"), times: 3 });
  // It takes effect, and says that it did not.
  mine.kv.onCommit(async (run) => {
    await run();
    throw new Error("connection reset");
  }, { match: (commit) => !writes("head")(commit) && writes("slot")(commit) });
  await mine.counter.update(increment);
  await mine.counter.update(increment);
  await until(() => theirs.counter.peek()?.n === 5);
  // Three that were asked for, and one at the slot that was taken.
  assert.equal(mine.core.stores.figures.conflicts, 4);
  const slots = new Map<string, number[]>();
  for (const { key } of await entriesOf(kv, ["hw", "slot"])) {
    const feed = String(key[2]);
    slots.set(feed, [...slots.get(feed) ?? [], Number(key[3])]);
  }
  assert.equal(slots.size, 2);
  for (const [, numbers] of slots) {
    assert.deepEqual(numbers, numbers.map((_, index) => index + 1), "a hole");
  }
});

for (const how of ["not loaded", "loaded, without subscribers"]) {
  Deno.test(`FeedReader: a store that another server writes, ${how} here, costs its share of the feed and nothing else`, async () => {
    using kv = await memoryKv();
    await using writer = await openCounter(kv);
    await using reader = await openCounter(kv);
    await writer.counter.init();
    if (how !== "not loaded") await reader.counter.init();
    // The sweep at its start is over.
    await until(() => reader.kv.reads.some(readOf("expiry")));
    const { length: commitsBefore } = reader.kv.commits;
    const { length: readsBefore } = reader.kv.reads;
    await compete([writer], { depth: 8, commits: 300 });
    const { commits } = writer.core.stores.figures;
    // Until it has read the last slot: it has nothing to show where it has not loaded the store.
    await until(() => {
      const [first] = reader.kv.reads.slice(-1);
      return first?.kind === "list" && first.key[1] === "feed" &&
        (how === "not loaded" ||
          reader.counter.peek()?.n === writer.counter.peek()?.n);
    });
    const reads = reader.kv.reads.slice(readsBefore);
    const kinds = new Set(reads.map(({ key }) => key[1]));
    assert.deepEqual([...kinds].sort(), ["feed", "slot"]);
    // One for the heads of the feeds, one for what is new; bells that ring at once count once.
    assert.ok(reads.length <= 2 * commits, `${reads.length} for ${commits}`);
    assert.equal(reader.kv.commits.length, commitsBefore);
  });
}

/** A rivalry on a clock that stands still, with the middle of all chances. */
function newRivalry(): { rivalry: Rivalry; clock: FakeClock } {
  const clock = new FakeClock();
  const random = { bytes: () => new Uint8Array(), float: () => 0.5 };
  return { rivalry: new Rivalry({ clock, random }), clock };
}

/** Commits every millisecond until a pause is due; returns after how long, and the pause. */
async function writeOn(
  { rivalry, clock }: ReturnType<typeof newRivalry>,
): Promise<{ turnMs: number; pauseMs: number }> {
  for (let turnMs = 0; turnMs < 2_000; turnMs++) {
    rivalry.won(1);
    const pauseMs = rivalry.pauseMs(1);
    if (pauseMs > 0) return { turnMs, pauseMs };
    await clock.advance(1);
  }
  return { turnMs: Infinity, pauseMs: 0 };
}

Deno.test("Rivalry: who knows of a rival pauses after a turn, longer for one that starves all the same", async () => {
  const one = newRivalry();
  const { turnMs, pauseMs } = await writeOn(one);
  assert.equal(turnMs, 25);
  // A try that began too early, the wait after it and a whole try.
  assert.ok(pauseMs >= 1 + 2 + 2 && pauseMs < 10, `${pauseMs}`);
  one.rivalry.heard(true);
  assert.equal((await writeOn(one)).pauseMs, 2 * pauseMs);
  for (let n = 0; n < 10; n++) one.rivalry.heard(true);
  assert.equal((await writeOn(one)).pauseMs, 16 * pauseMs);
  for (let n = 0; n < 10; n++) one.rivalry.heard(false);
  assert.equal((await writeOn(one)).pauseMs, pauseMs);
});

Deno.test("Rivalry: who has not heard of the rival for a second does not pause any more", async () => {
  const one = newRivalry();
  await one.clock.advance(1_001);
  assert.equal((await writeOn(one)).turnMs, Infinity);
  one.rivalry.heard(false);
  // It has written long enough.
  assert.equal((await writeOn(one)).turnMs, 0);
  assert.equal((await writeOn(one)).turnMs, 25);
});

Deno.test("Rivalry: a store that is written now and then never pauses", async () => {
  const { rivalry, clock } = newRivalry();
  for (let n = 0; n < 100; n++) {
    rivalry.heard(false);
    rivalry.won(1);
    assert.equal(rivalry.pauseMs(1), 0);
    await clock.advance(10);
  }
});

Deno.test("Rivalry: tries go on within the time of a turn, and become rare only where nothing helps", () => {
  const { rivalry } = newRivalry();
  const waits = Array.from({ length: 200 }, () => rivalry.lost(1));
  assert.deepEqual(waits.slice(0, 16), new Array(16).fill(2));
  assert.equal(waits.at(-1), 128);
  rivalry.won(1);
  assert.equal(rivalry.lost(1), 2);
  assert.equal(rivalry.lost(100), 100);
});

Deno.test("Rivalry: it says that it starves after three conflicts, and not at each", async () => {
  const { rivalry, clock } = newRivalry();
  const asks = () => {
    rivalry.lost(1);
    return rivalry.asks();
  };
  assert.deepEqual([asks(), asks(), asks(), asks()], [
    false,
    false,
    true,
    false,
  ]);
  await clock.advance(250);
  assert.equal(asks(), true);
  rivalry.won(1);
  await clock.advance(250);
  assert.equal(asks(), false);
});
