/**
 * The torture is what it claims to be: it knows each kind of atomic operation,
 * kills where it was told to, and notices what is lost, doubled or left over.
 */
import assert from "node:assert/strict";
import { Account } from "../scripts/torture/account.ts";
import { checkFile } from "../scripts/torture/check.ts";
import { runJob } from "../scripts/torture/job.ts";
import { decodeOrder, encodeOrder, POINTS } from "../scripts/torture/points.ts";
import { isFailed, pointsTable, sumOf } from "../scripts/torture/report.ts";
import {
  chunkKey,
  headKey,
  logKey,
  pendingKey,
  type StoreId,
} from "../server/log/keys.ts";
import { encodeRecord } from "../server/log/record.ts";
import { connectClient } from "./_app.ts";
import { tempDir, tempKvPath } from "./_harness.ts";
import { defineTorture, type Room } from "../scripts/torture/app.ts";
import { createServer } from "../server/mod.ts";
import { readHead, readStore } from "../server/log/reader.ts";

const LEDGER: StoreId = { namespace: "default", name: "Ledger" };
const ROOM: StoreId = { namespace: "default", name: "Room:1" };

/** One point of each group. */
const MAIN_POINTS = [
  "secret:after",
  "create:after",
  "entry:before",
  "chunked:after",
  "large-more:before",
  "snapshot-more:before",
  "flip:after",
  "trim:before",
  "delete:after",
  "sweep-chunks:before",
  "once:after",
  "answer:before",
];

Deno.test("runJob() kills at one point of each group, and nothing is lost, twice or wrong", async () => {
  await using folder = await tempDir();
  const { figures, hits, breaches } = await runJob({
    seed: 1,
    kills: 16,
    points: MAIN_POINTS,
    folder: folder.path,
    job: 0,
  }, () => {});
  assert.deepEqual(breaches, []);
  assert.equal(figures.kills, 16);
  const missed = MAIN_POINTS.filter((point) => !hits[point]);
  assert.deepEqual(missed, [], "points that were never reached");
  assert.ok(figures.acked > 100, `${figures.acked} writes`);
  assert.ok(figures.resent > 0, "no call was sent again");
  assert.ok(figures.resumes > figures.snapshots, "clients were not resumed");
});

Deno.test("runJob() kills one of two servers over one file, and the clients go to the other", async () => {
  await using folder = await tempDir();
  const { figures, breaches } = await runJob({
    seed: 2,
    kills: 4,
    points: [],
    folder: folder.path,
    job: 2,
  }, () => {});
  assert.deepEqual(breaches, []);
  assert.ok(figures.acked > 50, `${figures.acked} writes`);
});

Deno.test("decodeOrder() reads every point, and refuses what is none", () => {
  for (const { name } of POINTS) {
    const order = { point: name, nth: 3 };
    assert.deepEqual(decodeOrder(encodeOrder(order)), order);
    assert.deepEqual(decodeOrder(name), { point: name, nth: 1 });
  }
  for (const text of ["", "flip", "flip:at", "flop:before", "flip:after:0"]) {
    assert.throws(() => decodeOrder(text), TypeError, text);
  }
});

Deno.test("pointsTable() has a line for each kind of operation", () => {
  const table = pointsTable(new Map([["flip:after", 17]]));
  for (const { name } of POINTS) {
    assert.match(table, new RegExp(`^  ${name.split(":")[0]} `, "m"));
  }
  assert.match(table, /^ {2}flip +- +17 {2}flip to a snapshot$/m);
});

/** A file with a few writes, and the account of them. */
async function writtenFile(): Promise<
  { kv: Deno.Kv; account: Account } & AsyncDisposable
> {
  const file = await tempKvPath();
  const account = new Account();
  {
    await using server = createServer({ kv: file.path });
    defineTorture(server);
    await server.listen({ port: 0, host: "127.0.0.1" });
    using client = connectClient(server.port);
    for (const label of ["x.1", "x.2", "x.3"]) {
      const { call, writes } = await client.call<
        { call: string; writes: [{ store: string; n: number }] }
      >("add", { label });
      account.ack(label, call, writes);
    }
    await client.call("room", { key: "1", label: "x.5", how: "say" });
  }
  const kv = await Deno.openKv(file.path);
  return {
    kv,
    account,
    [Symbol.asyncDispose]: async () => {
      kv.close();
      await file[Symbol.asyncDispose]();
    },
  };
}

/** What is done to a file or an account, and what the check must say. */
const TAMPERINGS: readonly {
  name: string;
  tamper: (kv: Deno.Kv, account: Account) => unknown;
  says: RegExp;
}[] = [
  {
    name: "a log entry is missing",
    tamper: async (kv) => {
      const read = await readHead(kv, LEDGER);
      assert.ok(read);
      await kv.delete([...logKey(LEDGER, read.head.epoch, 3)]);
    },
    says: /^lost Ledger cannot be read/m,
  },
  {
    name: "the store is gone",
    tamper: (kv) => kv.delete([...headKey(LEDGER)]),
    says: /^lost Ledger has undefined at 1, not x\.1$/m,
  },
  {
    name: "a write has another value",
    tamper: (_, { acked }) => {
      acked[1] = { ...acked[1]!, value: 1 };
    },
    says: /^lost Ledger has another value of x\.2/m,
  },
  {
    name: "a write has another version",
    tamper: (_, { acked }) => {
      acked[1] = { ...acked[1]!, version: 2 };
    },
    says: /^lost x\.2 and x\.1 were both version 2 of Ledger$/m,
  },
  {
    name: "a write is not there",
    tamper: (_, account) => {
      account.ack("x.4", "nobody.1", [
        { store: "Ledger", n: 0, version: 5, value: 4 },
      ]);
    },
    says: /^lost Ledger does not have x\.4/m,
  },
  {
    name: "what was refused is there",
    tamper: (_, { refused }) => refused.push("x.1"),
    says: /^wrong x\.1 was refused, and is there$/m,
  },
  {
    name: "what failed after its write is not there",
    tamper: (_, { present }) => present.push("x.9"),
    says: /^lost x\.9 is nowhere$/m,
  },
  {
    name: "there is a write that nobody made",
    tamper: (_, { acked }) => acked.pop(),
    says: /^wrong Nobody knows of x\.3$/m,
  },
  {
    name: "the store has begun another life",
    tamper: (_, account) => {
      account.epochs = { Ledger: "another" };
    },
    says: /^lost Ledger has begun another life/m,
  },
  {
    name: "a strand counted further",
    tamper: (_, { counts }) =>
      counts.push({ store: "Recent", strand: "c0", least: 2, most: 2 }),
    says: /^lost Recent counts 0 of c0 writes/m,
  },
  {
    name: "a room has lost an item",
    tamper: (_, { rooms }) => rooms.set("Room:1", ["x.7"]),
    says: /^lost Room:1 has x\.5, not x\.7$/m,
  },
  {
    name: "a write is in two lives of a store",
    tamper: (_, account) => {
      account.ack("x.5", "somebody.1", [
        { store: "Room:1", n: 0, version: 2, value: ["another life", 1] },
      ]);
    },
    says: /^twice Room:1 has x\.5 in two of its lives$/m,
  },
  {
    name: "a write is not in its life of a store",
    tamper: async (kv, account) => {
      const read = await readStore(kv, ROOM);
      const { life = "" } = read?.state as Partial<Room>; // as it was written
      account.ack("x.6", "somebody.1", [
        { store: "Room:1", n: 0, version: 2, value: [life, 1] },
      ]);
    },
    says: /^lost Room:1 has x\.5 at 1, not x\.6$/m,
  },
  {
    name: "an answer was not recorded",
    tamper: (_, { answers }) => answers.push({ call: "a.1", token: "t" }),
    says: /^lost The answer of call a\.1/m,
  },
  {
    name: "a marker cannot be swept",
    tamper: (kv) => kv.set([...pendingKey("odd")], encodeRecord({ k: "dead" })),
    says: /^wrong The sweep failed/m,
  },
  {
    name: "chunks belong to nothing",
    tamper: (kv) =>
      kv.set([...chunkKey(LEDGER, "dead", "b", 0)], encodeRecord("chunk")),
    says: /^wrong Left over after a sweep: blob default Ledger dead b 0$/m,
  },
];

Deno.test("checkFile() finds nothing in a file as it should be", async () => {
  await using file = await writtenFile();
  const report = await checkFile(file.kv, file.account.toData());
  assert.deepEqual(report.breaches, []);
  assert.equal(report.stores["Ledger"]?.version, 4);
});

for (const { name, tamper, says } of TAMPERINGS) {
  Deno.test(`checkFile() notices that ${name}`, async () => {
    await using file = await writtenFile();
    await tamper(file.kv, file.account);
    const { breaches } = await checkFile(file.kv, file.account.toData());
    const text = breaches.map(({ kind, text }) => `${kind} ${text}`).join("\n");
    assert.match(text, says);
  });
}

Deno.test("isFailed() asks for every point from 200 kills on, and for no breach from the first", () => {
  const report = (kills: number, hits: Record<string, number>) => ({
    figures: { ...sumOf([]).figures, kills },
    hits,
    breaches: [],
  });
  const reached = { "one": 3, "other": 1 };
  const missed = { "one": 3, "other": 0 };
  assert.equal(isFailed(sumOf([report(199, missed)])), false);
  assert.equal(isFailed(sumOf([report(200, missed)])), true);
  assert.equal(isFailed(sumOf([report(200, reached)])), false);
  assert.equal(
    isFailed(sumOf([report(100, missed), report(100, reached)])),
    false,
  );
  const broken = {
    ...sumOf([report(1, reached)]),
    breaches: [{ kind: "lost", text: "a write" } as const],
  };
  assert.equal(isFailed(broken), true);
});
