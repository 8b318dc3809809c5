/** Whose turn it is in a lane, and how long a commit is tried: on a clock that stands still. */
import assert from "node:assert/strict";
import type { Participant } from "../server/log/participant.ts";
import { Turns } from "../server/log/turns.ts";
import { FakeClock, settle } from "./_fake_clock.ts";
import { throwsBefore, writes } from "./_kv_faults.ts";
import { drive, memoryKv, openNode, type TestNode } from "./_store_harness.ts";

/** What a turn lasts at least, in milliseconds. */
const TURN_MS = 25;
const COMMIT_MS = 2_000;

/** One store that always has work, and its turns. */
class Writer {
  readonly clock = new FakeClock();
  readonly participant: Participant = {
    hasWork: () => true,
    refresh: () => Promise.resolve(),
    prepare: () => undefined,
    committed() {},
    conflicted() {},
    failed() {},
  };
  readonly turns: Turns;

  constructor() {
    const random = { bytes: () => new Uint8Array(), float: () => 0.5 };
    this.turns = new Turns({ clock: this.clock, random });
    this.turns.add(this.participant);
  }

  /** Commits once, which takes a millisecond; false where it is not its turn. */
  async write(): Promise<boolean> {
    const round = this.turns.choose();
    if (!round) return false;
    await this.clock.advance(1);
    this.turns.committed(round.chosen);
    this.turns.took(1);
    this.turns.end(round, []);
    return true;
  }

  /** Writes on to the end of its turn; returns how long that and the pause after it were. */
  async turn(limitMs = 1_000): Promise<{ turnMs: number; pauseMs: number }> {
    let [turnMs, pauseMs] = [0, 0];
    while (turnMs < limitMs && await this.write()) turnMs++;
    if (turnMs === limitMs) return { turnMs, pauseMs };
    for (; pauseMs < limitMs && !this.turns.choose(); pauseMs++) {
      await this.clock.advance(1);
    }
    this.turns.add(this.participant);
    return { turnMs, pauseMs };
  }
}

Deno.test("Turns: a store of which no rival was heard is always next", async () => {
  assert.equal((await new Writer().turn()).turnMs, 1_000);
});

Deno.test("Turns.heard() lets the store pause after its turn, and longer for one that starves", async () => {
  const writer = new Writer();
  const { turns, participant } = writer;
  turns.heard(participant, false);
  const { turnMs, pauseMs } = await writer.turn();
  assert.ok(turnMs >= TURN_MS && turnMs < 2 * TURN_MS, `${turnMs} ms`);
  assert.ok(pauseMs > 0 && pauseMs < TURN_MS, `${pauseMs} ms`);
  for (let n = 0; n < 3; n++) turns.heard(participant, true);
  const starving = await writer.turn();
  assert.equal(starving.pauseMs, 8 * pauseMs);
  for (let n = 0; n < 3; n++) turns.heard(participant, false);
  assert.equal((await writer.turn()).pauseMs, pauseMs);
  // After a second in which nothing was heard nobody is waited for.
  await writer.clock.advance(1_001);
  assert.equal((await writer.turn()).turnMs, 1_000);
});

/** Two stores of one server, which share its lane, on a clock that stands still. */
async function openTwo(): Promise<
  & {
    node: TestNode;
    clock: FakeClock;
    update(name: "A" | "B"): Promise<number>;
  }
  & AsyncDisposable
> {
  const clock = new FakeClock();
  const kv = await memoryKv();
  // Short pauses between two tries: by chance they would be longer than what is measured.
  const random = {
    bytes: (length: number) => crypto.getRandomValues(new Uint8Array(length)),
    float: () => 0.1,
  };
  const limits = { commitMs: COMMIT_MS };
  const node = await openNode(kv, { clock, random, limits });
  const stores = {
    A: node.store("A", { n: 0 }),
    B: node.store("B", { n: 0 }),
  };
  for (const store of Object.values(stores)) await drive(clock, store.init());
  return {
    node,
    clock,
    update: async (name) =>
      (await stores[name].update((draft) => ++draft.n)).value,
    async [Symbol.asyncDispose]() {
      await node.close();
      kv.close();
    },
  };
}

/** Lets the next commit take so long. */
function slowCommit(
  { node, clock }: { node: TestNode; clock: FakeClock },
  ms: number,
): void {
  node.kv.onCommit(async (run) => {
    await new Promise<void>((resolve) => clock.setTimer(ms, resolve));
    return await run();
  }, { match: writes("head") });
}

Deno.test("Lane: a store that has waited nearly all of its time for its turn is given an eighth for its commit", async () => {
  await using two = await openTwo();
  slowCommit(two, COMMIT_MS - 10);
  const first = two.update("A");
  await settle();
  slowCommit(two, COMMIT_MS / 8 - 20);
  const second = two.update("B");
  await drive(two.clock, Promise.all([first, second]));
  assert.deepEqual([await first, await second], [1, 1]);
});

Deno.test("Lane: who has waited for a KV that is down is told so at once, not after an eighth more", async () => {
  await using two = await openTwo();
  const { node, clock } = two;
  const sinceMs = clock.monotonic();
  node.kv.onCommit(throwsBefore, { match: writes("head"), times: Infinity });
  const told: number[] = [];
  const note = () => void told.push(clock.monotonic() - sinceMs);
  const first = two.update("A").catch(note);
  await settle();
  const second = two.update("B").catch(note);
  await drive(clock, Promise.all([first, second]));
  assert.equal(told.length, 2);
  for (const ms of told) {
    assert.ok(ms >= COMMIT_MS && ms < COMMIT_MS + COMMIT_MS / 8, `${told}`);
  }
});
