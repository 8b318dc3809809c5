/** The points where servers are killed: each kind of atomic operation is known by its keys. */
import assert from "node:assert/strict";
import { denoPorts } from "../adapters/deno_ports.ts";
import { defineTorture } from "../scripts/torture/app.ts";
import { type AtomicKind, POINTS } from "../scripts/torture/points.ts";
import { Recogniser } from "../scripts/torture/recogniser.ts";
import { type AtomicParts, WatchedKv } from "../scripts/torture/watched_kv.ts";
import {
  deadBlobMarker,
  deadEpochMarker,
  Sweeper,
} from "../server/log/blobs.ts";
import { encodeFeedHead } from "../server/log/event_record.ts";
import {
  answerKey,
  bellKey,
  chunkKey,
  feedKey,
  headKey,
  logKey,
  pendingKey,
  secretKey,
  slotKey,
  type StoreId,
} from "../server/log/keys.ts";
import { encodeBlobRef } from "../server/log/blob_ref.ts";
import { encodeHead, type Head } from "../server/log/head.ts";
import { encodeEntry } from "../server/log/log_entry.ts";
import { encodeRecord } from "../server/log/record.ts";
import { Server } from "../server/mod.ts";
import type { KvKey } from "../server/ports.ts";
import { connectClient } from "./_app.ts";
import { until } from "./_waiting.ts";

const ID: StoreId = { namespace: "default", name: "A" };
const OTHER: StoreId = { namespace: "default", name: "B" };
const EPOCH = "e1";

const HEAD: Head = {
  epoch: EPOCH,
  version: 5,
  writer: "w",
  commitId: "c",
  floor: 0,
  timeMs: 1,
  logBytes: 1,
  initialized: true,
};
const ENTRY = encodeEntry({
  from: 4,
  previous: "w",
  writer: "w",
  timeMs: 1,
  bytesBefore: 0,
  mutations: [{ patch: [] }],
});
const SNAPSHOT = {
  id: "s2",
  chunks: 1,
  bytes: 9,
  version: 4,
  stateBytes: 8,
  logBytes: 1,
};

/** An atomic operation; what it checks is there unless it is said to be absent. */
function atomic(
  { sets = [], deletes = [], absent = [], present = [] }: {
    sets?: [KvKey, unknown][];
    deletes?: KvKey[];
    absent?: KvKey[];
    present?: KvKey[];
  },
): AtomicParts {
  return {
    checks: [
      ...absent.map((key) => ({ key, versionstamp: null })),
      ...present.map((key) => ({ key, versionstamp: "1" })),
    ],
    sets: sets.map(([key, value]) => ({ key, value })),
    deletes,
  };
}

/** A commit of an entry to a store, with what every commit has. */
function commit(
  { id = ID, head = HEAD, entry = ENTRY, ...more }:
    & { id?: StoreId; head?: Head; entry?: unknown }
    & Parameters<typeof atomic>[0] = {},
): AtomicParts {
  const { sets = [], present = [headKey(id)], absent = [] } = more;
  return atomic({
    ...more,
    present: absent.length > 0 ? [] : present,
    absent: [...absent, slotKey("f", 1)],
    sets: [
      [headKey(id), encodeHead(head)],
      ...(entry === null
        ? []
        : [[logKey(id, EPOCH, 5), entry] as [KvKey, unknown]]),
      ...sets,
      [slotKey("f", 1), new Uint8Array()],
    ],
  });
}

const NEW_MARKER = encodeRecord({ k: "new" });
const DEAD_MARKER = deadBlobMarker(ID, EPOCH);
const FLIP = commit({
  entry: null,
  head: { ...HEAD, snapshot: SNAPSHOT },
  deletes: [pendingKey("s2")],
  sets: [[pendingKey("s1"), DEAD_MARKER]],
});

/** Operations, what happened before them in the same process, and what they are. */
const CASES: readonly {
  is: AtomicKind[];
  of: AtomicParts;
  committed?: AtomicParts[];
  named?: AtomicParts[];
  listed?: KvKey[];
  why?: string;
}[] = [
  {
    is: ["secret"],
    of: atomic({
      absent: [secretKey()],
      sets: [[secretKey(), new Uint8Array(32)]],
    }),
  },
  { is: ["create"], of: commit({ absent: [headKey(ID)] }) },
  { is: ["entry"], of: commit() },
  {
    is: ["entries", "entry"],
    of: (() => {
      const [a, b] = [commit(), commit({ id: OTHER })];
      return {
        ...a,
        checks: [...a.checks, ...b.checks],
        sets: [...a.sets, ...b.sets],
      };
    })(),
  },
  {
    is: ["chunked"],
    of: commit({
      entry: encodeBlobRef({ id: "v5", chunks: 2, bytes: 9 }),
      sets: [[chunkKey(ID, EPOCH, "v5", 0), ENTRY]],
    }),
  },
  {
    is: ["large-commit"],
    of: commit({
      entry: encodeBlobRef({ id: "l1", chunks: 2, bytes: 9 }),
      deletes: [pendingKey("l1")],
    }),
  },
  {
    is: ["marker"],
    of: atomic({
      absent: [pendingKey("l1")],
      sets: [[pendingKey("l1"), NEW_MARKER]],
    }),
  },
  {
    is: ["snapshot"],
    of: atomic({
      present: [pendingKey("s1")],
      sets: [[chunkKey(ID, EPOCH, "s1", 0), encodeRecord({ n: 1 })]],
    }),
  },
  {
    is: ["snapshot-more"],
    of: atomic({
      present: [pendingKey("s1")],
      sets: [[chunkKey(ID, EPOCH, "s1", 11), encodeRecord(1)]],
    }),
  },
  {
    is: ["large"],
    of: atomic({
      present: [pendingKey("l1")],
      sets: [[chunkKey(ID, EPOCH, "l1", 0), ENTRY]],
    }),
  },
  {
    is: ["large-more"],
    named: [atomic({ sets: [[chunkKey(ID, EPOCH, "l1", 0), ENTRY]] })],
    of: atomic({
      present: [pendingKey("l1")],
      sets: [[chunkKey(ID, EPOCH, "l1", 11), encodeRecord(1)]],
    }),
  },
  { is: ["flip"], of: FLIP },
  {
    is: ["entry", "flip"],
    why: "they ride together",
    of: commit({
      head: { ...HEAD, snapshot: SNAPSHOT },
      deletes: [pendingKey("s2")],
    }),
  },
  {
    is: ["floor"],
    committed: [FLIP],
    of: commit({
      entry: null,
      head: { ...HEAD, snapshot: SNAPSHOT, floor: 3 },
    }),
  },
  {
    is: [],
    why: "a floor that was not seen before may be as it was",
    of: commit({ entry: null, head: { ...HEAD, floor: 3 } }),
  },
  {
    is: ["old-chunks"],
    committed: [FLIP],
    of: atomic({ deletes: [chunkKey(ID, EPOCH, "s1", 0)] }),
  },
  {
    is: ["old-marker"],
    committed: [FLIP],
    of: atomic({ deletes: [pendingKey("s1")] }),
  },
  {
    is: ["trim"],
    of: atomic({ deletes: [logKey(ID, EPOCH, 1), logKey(ID, EPOCH, 2)] }),
  },
  {
    is: ["trim-chunks"],
    of: atomic({ deletes: [chunkKey(ID, EPOCH, "v2", 0)] }),
  },
  {
    is: ["delete"],
    of: atomic({
      present: [headKey(ID)],
      deletes: [headKey(ID)],
      sets: [[pendingKey(EPOCH), deadEpochMarker(ID, EPOCH)], [
        slotKey("f", 1),
        new Uint8Array(),
      ]],
    }),
  },
  {
    is: ["events"],
    of: atomic({
      absent: [slotKey("f", 1)],
      sets: [
        [slotKey("f", 1), new Uint8Array()],
        [feedKey("f"), encodeFeedHead(1)],
      ],
    }),
  },
  {
    is: [],
    why: "a server that asks for its turn",
    of: atomic({
      absent: [slotKey("f", 1)],
      sets: [
        [slotKey("f", 1), new Uint8Array()],
        [feedKey("f"), encodeRecord({ s: 1 })],
      ],
    }),
  },
  {
    is: ["claim"],
    of: atomic({
      present: [pendingKey("l1")],
      sets: [[pendingKey("l1"), DEAD_MARKER]],
    }),
  },
  {
    is: ["sweep-chunks"],
    listed: [pendingKey("l1")],
    of: atomic({ deletes: [chunkKey(ID, EPOCH, "l1", 0)] }),
  },
  {
    is: ["sweep-chunks"],
    why: "of a store that was deleted",
    listed: [pendingKey(EPOCH)],
    of: atomic({ deletes: [chunkKey(ID, EPOCH, "s1", 0)] }),
  },
  {
    is: ["sweep-log"],
    listed: [pendingKey(EPOCH)],
    of: atomic({ deletes: [logKey(ID, EPOCH, 1)] }),
  },
  {
    is: ["sweep-marker"],
    listed: [pendingKey("l1")],
    of: atomic({ deletes: [pendingKey("l1")] }),
  },
  {
    is: ["trim-chunks"],
    why: "a marker that its commit has removed is no sweep's",
    listed: [pendingKey("l1")],
    committed: [
      commit({
        entry: encodeBlobRef({ id: "l1", chunks: 1, bytes: 9 }),
        deletes: [pendingKey("l1")],
      }),
    ],
    of: atomic({ deletes: [chunkKey(ID, EPOCH, "l1", 0)] }),
  },
  {
    is: ["once"],
    of: atomic({
      absent: [answerKey("default", "s", 1)],
      sets: [[answerKey("default", "s", 1), new Uint8Array()]],
    }),
  },
  {
    is: [],
    why: "nothing that is known",
    of: atomic({ sets: [[bellKey(), 1]] }),
  },
];

for (const { is, of, why, committed = [], named = [], listed = [] } of CASES) {
  const what = is.join(" and ") || "nothing";
  Deno.test(`Recogniser.name() says ${what}${why ? `: ${why}` : ""}`, () => {
    const recogniser = new Recogniser();
    for (const key of listed) {
      recogniser.listed({ key, value: NEW_MARKER, versionstamp: "1" });
    }
    for (const parts of committed) recogniser.committed(parts);
    for (const parts of named) recogniser.name(parts);
    assert.deepEqual(recogniser.name(of), is);
  });
}

Deno.test("Recogniser.name() has a case for every point", () => {
  const kinds = new Set(CASES.flatMap(({ is }) => is as string[]));
  const missing = POINTS.map(({ name }) => name.split(":")[0] ?? "")
    .filter((kind) => kind !== "answer" && !kinds.has(kind));
  assert.deepEqual(missing, []);
});

Deno.test("Recogniser.name() knows every atomic operation of a real server", async () => {
  const host = denoPorts();
  const opened = await host.openKv(":memory:");
  const seen = new Set<string>();
  const unknown: AtomicParts[] = [];
  const watch = () => {
    const recogniser = new Recogniser();
    return new WatchedKv(opened.kv, {
      listed: (entry) => recogniser.listed(entry),
      commit: async (parts, run) => {
        const kinds = recogniser.name(parts);
        const result = await run();
        if (result.ok) recogniser.committed(parts);
        for (const kind of kinds) seen.add(kind);
        if (kinds.length === 0) unknown.push(parts);
        return result;
      },
    });
  };
  const sweeper = new Sweeper(watch(), () => performance.now(), 0);
  {
    await using server = new Server({ kv: watch() }, host);
    const ledger = defineTorture(server);
    await server.listen({ port: 0, host: "127.0.0.1" });
    using client = connectClient(server.port, { rpcTimeoutMs: 30_000 });
    await client.call("once", { label: "o" });
    await client.call("room", { key: "1", label: "r", how: "say" });
    await client.call("room", { key: "1", label: "s", how: "drop" });
    await ledger.update((draft) => void draft.items.push("t"));
    // Writes that come at once ride in one operation, where they share a lane.
    const keys = ["a", "b", "c", "d", "e", "f"];
    await until(async () => {
      await Promise.all(
        keys.map((key) => client.call("room", { key, label: "x", how: "say" })),
      );
      return seen.has("entries");
    });
    let n = 0;
    const wanted = POINTS.map(({ name }) => name.split(":")[0] ?? "")
      .filter((kind) => kind !== "answer");
    await until(async () => {
      await client.call("pad", {
        key: "p",
        label: `l${++n}`,
        bytes: n % 4 === 0 ? 800_000 : 90_000,
      });
      await sweeper.sweep();
      return wanted.every((kind) => seen.has(kind));
    }, {
      ms: 30_000,
      describe: () =>
        `${wanted.filter((kind) => !seen.has(kind))} after ${n} writes`,
    });
  }
  await opened.close();
  assert.deepEqual(unknown, []);
});
