import assert from "node:assert/strict";
import { HeadwaterError } from "../protocol/errors.ts";
import { Sweeper } from "../server/log/blobs.ts";
import { readStore } from "../server/log/reader.ts";
import type { Kv } from "../server/ports.ts";
import type { DynamicStore } from "../server/stores/dynamic_store.ts";
import { until } from "./_harness.ts";
import { type CommitFault, type FaultyKv, locked } from "./_kv_faults.ts";
import { idOf, memoryKv, Replica, TestNode } from "./_store_harness.ts";

interface Ledger {
  /** How often each write was applied; a second time would be the failure. */
  applied: Record<string, number>;
  total: number;
  pad: string;
}

type SoakNode = TestNode & { stores: DynamicStore<Ledger> };

/** What one run of a write told its caller. */
type Told =
  | { readonly version: number; readonly value: number | undefined }
  | "unknown"
  | "notApplied";

const KEYS = ["x", "y", "z"];
/** Fixed, so that a failure can be seen again; any number will do. */
const SEEDS = [1, 2];

for (const seed of SEEDS) {
  Deno.test(`Soak ${seed}: a KV that fails in every way loses nothing and applies nothing twice`, async () => {
    await soak(seed);
  });
}

async function soak(seed: number): Promise<void> {
  const random = mulberry32(seed);
  const pick = <T>(items: readonly T[]): T =>
    items[Math.floor(random() * items.length)]!; // never empty
  using kv = await memoryKv();
  const nodes: SoakNode[] = [];
  const replicas: { node: SoakNode; key: string; replica: Replica }[] = [];
  const told = new Map<string, Told[]>();
  const late: Promise<unknown>[] = [];
  let isOver = false;
  try {
    for (let i = 0; i < 3; i++) {
      const node = await openSoakNode(kv, i !== 2);
      nodes.push(node);
      for (const key of KEYS) {
        await node.stores.init(key);
        const replica = new Replica(node.loaded(`S:${key}`));
        replicas.push({ node, key, replica });
      }
    }
    for (const { kv } of nodes) {
      disturb(kv, {
        random,
        late,
        isOver: () => isOver,
      });
    }
    late.push((async () => {
      while (!isOver) {
        await new Sweeper(kv, () => 0, 0).sweep();
        for (let turn = 0; turn < 20; turn++) await kv.get(["turn"]);
      }
    })());
    const run = async (id: string, key: string, call: number | undefined) => {
      const node = pick(nodes);
      const size = random() < 0.15 ? 9_000 : 10;
      const write = () =>
        node.stores.update(key, (draft) => {
          draft.applied[id] = (draft.applied[id] ?? 0) + 1;
          draft.pad = "x".repeat(size);
          return ++draft.total;
        });
      const outcome =
        await (call === undefined ? write() : node.call({ call }, write))
          .catch(outcomeOf);
      told.set(id, [...told.get(id) ?? [], outcome]);
    };
    const restart = async (i: number) => {
      const old = nodes[i]!; // there are three
      const node = await openSoakNode(kv, i !== 2);
      disturb(node.kv, { random, late, isOver: () => isOver });
      nodes[i] = node;
      await old.close();
    };
    const workers = Array.from({ length: 6 }, async (_, worker) => {
      for (let i = 0; i < 40; i++) {
        if (random() < 0.03) await restart(Math.floor(random() * 3));
        const key = pick(KEYS);
        const id = `${worker}.${i}`;
        const call = random() < 0.6 ? worker * 1_000 + i + 1 : undefined;
        const runs = call === undefined ? 1 : 1 + Math.floor(random() * 3);
        // A call is sent again after its answer was lost, or while it still runs elsewhere.
        if (random() < 0.5) {
          await Promise.all(
            Array.from({ length: runs }, () => run(id, key, call)),
          );
        } else {
          for (let again = 0; again < runs; again++) await run(id, key, call);
        }
        told.set(`${id} ${key}`, []);
      }
    });
    await Promise.all(workers);
    isOver = true;
    await Promise.allSettled(late);
    for (const { stores } of nodes) {
      for (const key of KEYS) await stores.get(key);
    }
    await settle(kv, nodes);
    check(await ledgers(kv), told);
    for (const { node, key, replica } of replicas) {
      if (!nodes.includes(node)) continue;
      const store = node.loaded(`S:${key}`);
      store.fanout.flush();
      assert.deepEqual(replica.state, store.state);
      assert.equal(replica.position?.version, store.version);
    }
  } finally {
    isOver = true;
    await Promise.allSettled(late);
    for (const node of nodes) await node.close();
  }
}

async function openSoakNode(kv: Kv, isLocal: boolean): Promise<SoakNode> {
  const node = new TestNode(kv, { limits: { commitMs: 400 }, isLocal });
  const stores = node.dynamic<Ledger>(
    "S:*",
    { applied: {}, total: 0, pad: "" },
    { history: { versions: 5 } },
  );
  return Object.assign(await node.open(), { stores });
}

/** Lets every kind of failure happen now and then. */
function disturb(
  kv: FaultyKv,
  { random, late, isOver }: {
    random: () => number;
    late: Promise<unknown>[];
    isOver: () => boolean;
  },
): void {
  const fault: CommitFault = async (run) => {
    const kind = isOver() ? 1 : random();
    if (kind < 0.05) throw new Error("connection reset");
    if (kind < 0.1) {
      await run();
      throw new Error("connection reset");
    }
    if (kind < 0.13) throw locked();
    if (kind < 0.15) {
      await run();
      throw locked();
    }
    if (kind < 0.2) {
      late.push(turns(random() * 60).then(run));
      throw new Error("connection reset");
    }
    if (kind < 0.22) {
      late.push(turns(random() * 600).then(run));
      return await new Promise<never>(() => {});
    }
    if (kind < 0.4) await turns(random() * 20);
    const result = await run();
    if (kind > 0.9 && !isOver()) await turns(random() * 20);
    return result;
  };
  kv.onCommit(fault, { times: Infinity });
  kv.beforeRead(async () => {
    const kind = isOver() ? 1 : random();
    if (kind < 0.02) throw locked();
    if (kind < 0.04) throw new Error("connection reset");
    if (kind < 0.15) await turns(random() * 20);
  }, { times: Infinity });

  async function turns(count: number): Promise<void> {
    for (let turn = 0; turn < count; turn++) {
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  }
}

function outcomeOf(error: unknown): Told {
  if (error instanceof HeadwaterError) {
    if (error.outcome === "notApplied") return "notApplied";
    if (error.code === "unavailable") return "unknown";
  }
  if (error instanceof HeadwaterError && error.code === "closed") {
    return "notApplied";
  }
  // Opening the store failed: nothing was written.
  if (
    error instanceof Error &&
    /connection reset|in time|locked/.test(error.message)
  ) {
    return "notApplied";
  }
  throw error;
}

/** Waits until every server shows what the KV has. */
async function settle(
  kv: Kv,
  nodes: readonly SoakNode[],
): Promise<void> {
  await until(async () => {
    for (const key of KEYS) {
      const read = await readStore(kv, idOf(`S:${key}`));
      for (const { stores } of nodes) {
        const state = stores.peek(key);
        if (JSON.stringify(state) !== JSON.stringify(read?.state)) return false;
      }
    }
    return true;
  });
}

async function ledgers(
  kv: Kv,
): Promise<Map<string, Ledger>> {
  const found = new Map<string, Ledger>();
  for (const key of KEYS) {
    const state: unknown = (await readStore(kv, idOf(`S:${key}`)))?.state;
    found.set(key, state as Ledger); // as the stores were created
  }
  return found;
}

function check(
  found: ReadonlyMap<string, Ledger>,
  told: ReadonlyMap<string, readonly Told[]>,
): void {
  for (const [id, outcomes] of told) {
    if (id.includes(" ")) continue;
    const times = [...found.values()].reduce(
      (sum, { applied }) => sum + (applied[id] ?? 0),
      0,
    );
    const what = `write ${id}, told ${JSON.stringify(outcomes)}`;
    assert.ok(times <= 1, `${times} times: ${what}`);
    const given = outcomes.filter((one) => typeof one === "object");
    if (given.length > 0) assert.equal(times, 1, what);
    else if (!outcomes.includes("unknown")) assert.equal(times, 0, what);
    for (const one of given) assert.deepEqual(one, given[0], what);
  }
  for (const { applied, total } of found.values()) {
    assert.equal(Object.keys(applied).length, total);
  }
}

/** Pseudo-random numbers of a seed. */
function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
