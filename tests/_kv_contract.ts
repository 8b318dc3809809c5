/**
 * What `server/ports.ts` promises of a KV, as a suite that every implementation
 * runs.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { KvEntry, KvKey, KvSelector, OpenedKv } from "../server/ports.ts";
import { within } from "./_waiting.ts";

/** What differs between implementations. */
export interface KvContractFlags {
  /** What {@linkcode OpenedKv.isLocal} must say. */
  isLocal: boolean;
  /** Whether the implementation is missing on this machine. */
  isMissing?: boolean;
}

/** Opens an empty KV for one test. */
export type OpenForTest = () => Promise<OpenedKv & AsyncDisposable>;

const ONE = new Uint8Array([1]);

/** Registers the suite for one implementation. */
export function kvContract(
  name: string,
  open: OpenForTest,
  flags: KvContractFlags,
): void {
  const test = (claim: string, run: (opened: OpenedKv) => Promise<void>) =>
    Deno.test({
      name: `${name} ${claim}`,
      ignore: flags.isMissing ?? false,
      fn: async () => {
        await using opened = await open();
        await run(opened);
      },
    });

  test("openKv() says whether it is local", (opened) => {
    assert.equal(opened.isLocal, flags.isLocal);
    return Promise.resolve();
  });

  test("get() gives nulls for an absent key", async ({ kv }) => {
    assert.deepEqual(await kv.get(["no"]), {
      key: ["no"],
      value: null,
      versionstamp: null,
    });
  });

  test("get() gives the bytes that were set, and no more of their buffer", async ({ kv }) => {
    const whole = new Uint8Array([9, 1, 2, 9]);
    await kv.atomic().set(["a"], whole.subarray(1, 3)).set(
      ["b"],
      new Uint8Array(),
    ).commit();
    assert.deepEqual((await kv.get(["a"])).value, new Uint8Array([1, 2]));
    assert.deepEqual((await kv.get(["b"])).value, new Uint8Array());
  });

  test("commit() takes the bytes as they are at the call", async ({ kv }) => {
    const bytes = new Uint8Array([1]);
    const committing = kv.atomic().set(["a"], bytes).commit();
    bytes[0] = 2;
    await committing;
    assert.deepEqual((await kv.get(["a"])).value, ONE);
  });

  test("commit() writes nothing if one check fails", async ({ kv }) => {
    await kv.atomic().set(["head"], ONE).commit();
    const result = await kv.atomic()
      .check({ key: ["absent"], versionstamp: null }, {
        key: ["head"],
        versionstamp: null,
      })
      .set(["new"], ONE).delete(["head"]).sum(["count"], 1n).commit();
    assert.equal(result.ok, false);
    assert.deepEqual(
      (await kv.getMany([["head"], ["new"], ["count"]])).map(({ value }) =>
        value
      ),
      [
        ONE,
        null,
        null,
      ],
    );
  });

  test("commit() checks a key for the versionstamp that was read", async ({ kv }) => {
    const put = (versionstamp: string | null) =>
      kv.atomic().check({ key: ["a"], versionstamp }).set(["a"], ONE).commit();
    assert.equal((await put(null)).ok, true);
    const first = (await kv.get(["a"])).versionstamp;
    assert.equal((await put(null)).ok, false);
    assert.equal((await put(first)).ok, true);
    assert.equal(
      (await put(first)).ok,
      false,
      "the same value again is a new versionstamp",
    );
    const second = (await kv.get(["a"])).versionstamp;
    await kv.atomic().delete(["a"]).commit();
    assert.equal((await put(second)).ok, false);
    assert.equal((await put(null)).ok, true);
    assert.equal(
      (await put(second)).ok,
      false,
      "a key made anew has a new versionstamp",
    );
  });

  test("commit() can only check", async ({ kv }) => {
    assert.equal(
      (await kv.atomic().check({ key: ["a"], versionstamp: null }).commit()).ok,
      true,
    );
    await kv.atomic().set(["a"], ONE).commit();
    assert.equal(
      (await kv.atomic().check({ key: ["a"], versionstamp: null }).commit()).ok,
      false,
    );
  });

  test("commit() lets one of many win", async ({ kv }) => {
    const results = await Promise.all(
      Array.from(
        { length: 20 },
        (_, i) =>
          kv.atomic().check({ key: ["a"], versionstamp: null }).set(
            ["a"],
            new Uint8Array([i]),
          ).commit(),
      ),
    );
    const winners = results.flatMap((result, i) => result.ok ? [i] : []);
    assert.equal(winners.length, 1);
    assert.deepEqual((await kv.get(["a"])).value, new Uint8Array(winners));
  });

  test("commit() gives growing versionstamps, the same to all its keys", async ({ kv }) => {
    const stamps: string[] = [];
    for (let i = 0; i < 20; i++) {
      const result = await kv.atomic().set(["a"], ONE).set(["b"], ONE).commit();
      assert.ok(result.ok);
      stamps.push(result.versionstamp);
      const entries = await kv.getMany([["a"], ["b"]]);
      assert.deepEqual(entries.map(({ versionstamp }) => versionstamp), [
        result.versionstamp,
        result.versionstamp,
      ]);
    }
    assert.deepEqual(stamps, [...new Set(stamps)].sort());
  });

  test("atomic() counts the last of several writes to a key", async ({ kv }) => {
    await kv.atomic().set(["a"], ONE).delete(["a"]).delete(["b"]).set(
      ["b"],
      ONE,
    ).set(
      ["b"],
      new Uint8Array([2]),
    ).commit();
    assert.deepEqual(
      (await kv.getMany([["a"], ["b"]])).map(({ value }) => value),
      [
        null,
        new Uint8Array([2]),
      ],
    );
  });

  test("atomic() takes 10 checks and reads nothing by itself", async ({ kv }) => {
    const atomic = kv.atomic();
    for (let i = 0; i < 10; i++) {
      atomic.check({ key: ["absent", i], versionstamp: null });
    }
    // Written after the atomic was built, before it is committed.
    await kv.atomic().set(["absent", 3], ONE).commit();
    assert.equal((await atomic.set(["a"], ONE).commit()).ok, false);
  });

  test("list() goes by type, then value", async ({ kv }) => {
    const sorted = [
      new Uint8Array([0, 255]),
      new Uint8Array([1]),
      "",
      "a",
      "a\0b",
      "b",
      "é",
      "\u{1f600}",
      -1n,
      2n ** 70n,
      -Infinity,
      -1.5,
      0,
      1,
      2 ** 53,
      false,
      true,
    ];
    for (const part of sorted.toReversed()) {
      await kv.atomic().set(["k", part], ONE).commit();
    }
    assert.deepEqual(
      (await keysOf(kv.list({ prefix: ["k"] }))).map((key) => key[1]),
      sorted,
    );
  });

  test("list() leaves out the prefix's own key and its neighbours", async ({ kv }) => {
    await fill(kv, [["a"], ["a", 1], ["a", 1, "x"], ["a", 2], ["aa", 1], [
      "b",
    ]]);
    assert.deepEqual(await keysOf(kv.list({ prefix: ["a"] })), [["a", 1], [
      "a",
      1,
      "x",
    ], ["a", 2]]);
    assert.deepEqual(await keysOf(kv.list({ prefix: ["a", 1] })), [[
      "a",
      1,
      "x",
    ]]);
    assert.deepEqual(await keysOf(kv.list({ prefix: ["none"] })), []);
  });

  const ranges: [
    string,
    KvSelector,
    { limit?: number; reverse?: boolean; batchSize?: number },
    number[],
  ][] = [
    ["from start, without end", { start: ["n", 3], end: ["n", 6] }, {}, [
      3,
      4,
      5,
    ]],
    ["a prefix from start", { prefix: ["n"], start: ["n", 7] }, {}, [7, 8, 9]],
    ["a prefix up to end", { prefix: ["n"], end: ["n", 2] }, {}, [0, 1]],
    ["backwards", { prefix: ["n"] }, { reverse: true, limit: 3 }, [9, 8, 7]],
    ["backwards between start and end", { start: ["n", 3], end: ["n", 6] }, {
      reverse: true,
    }, [5, 4, 3]],
    ["no more than limit", { prefix: ["n"] }, { limit: 2 }, [0, 1]],
    ["over several batches", { prefix: ["n"] }, { batchSize: 3 }, [
      0,
      1,
      2,
      3,
      4,
      5,
      6,
      7,
      8,
      9,
    ]],
    ["over several batches, backwards", { prefix: ["n"] }, {
      batchSize: 3,
      reverse: true,
      limit: 7,
    }, [
      9,
      8,
      7,
      6,
      5,
      4,
      3,
    ]],
    ["nothing where start is end", { start: ["n", 3], end: ["n", 3] }, {}, []],
  ];
  for (const [claim, selector, options, expected] of ranges) {
    test(`list() reads ${claim}`, async ({ kv }) => {
      await fill(kv, Array.from({ length: 10 }, (_, i) => ["n", i]));
      assert.deepEqual(
        (await keysOf(kv.list(selector, options))).map((key) => key[1]),
        expected,
      );
    });
  }

  test("list() reads 2,500 entries in order", async ({ kv }) => {
    const numbers = Array.from({ length: 2_500 }, (_, i) => i);
    await fill(kv, numbers.map((i) => ["n", i]));
    const keys = await keysOf(kv.list({ prefix: ["n"] }, { batchSize: 1_000 }));
    assert.deepEqual(keys.map((key) => key[1]), numbers);
  });

  test("list() refuses a start after the end", async ({ kv }) => {
    await assert.rejects(keysOf(kv.list({ start: ["n", 2], end: ["n", 1] })));
  });

  test("getMany() reads up to 10 keys in the order asked for", async ({ kv }) => {
    await fill(kv, [["a"], ["b"]]);
    const entries = await kv.getMany([["b"], ["no"], ["a"], ["b"]]);
    assert.deepEqual(entries.map(({ key, value }) => [key, value]), [
      [["b"], ONE],
      [["no"], null],
      [["a"], ONE],
      [["b"], ONE],
    ]);
    assert.equal((await kv.getMany(numbered(10))).length, 10);
    await assert.rejects(async () => await kv.getMany(numbered(11)));
  });

  limitTests(test);
  counterTests(test);
  watchTests(test);

  test("set() takes expireIn and keeps the value until then", async ({ kv }) => {
    await kv.atomic().set(["a"], ONE, { expireIn: 3_600_000 }).commit();
    assert.deepEqual((await kv.get(["a"])).value, ONE);
  });

  test("keys hold no lone surrogates: they become U+FFFD", async ({ kv }) => {
    await kv.atomic().set(["s", "\ud800"], ONE).commit();
    assert.deepEqual((await kv.get(["s", "\ufffd"])).value, ONE);
  });

  test("close() twice does nothing more, and what follows rejects", async (opened) => {
    await opened.close();
    await opened.close();
    await assert.rejects(async () => await opened.kv.get(["a"]));
    await assert.rejects(async () =>
      await opened.kv.atomic().set(["a"], ONE).commit()
    );
  });
}

type Test = (claim: string, run: (opened: OpenedKv) => Promise<void>) => void;

function limitTests(test: Test): void {
  test("commit() takes a value of 65,536 bytes and refuses one more", async ({ kv }) => {
    const value = crypto.getRandomValues(new Uint8Array(65_536));
    await kv.atomic().set(["a"], value).commit();
    assert.deepEqual((await kv.get(["a"])).value, value);
    await refused(
      kv,
      kv.atomic().set(["b"], ONE).set(["c"], new Uint8Array(65_537)),
    );
  });

  test("commit() takes 1,000 writes and refuses one more", async ({ kv }) => {
    await fill(kv, numbered(1_000));
    assert.equal((await keysOf(kv.list({ prefix: ["n"] }))).length, 1_000);
    const atomic = kv.atomic().set(["b"], ONE);
    for (let i = 0; i < 1_000; i++) atomic.delete(["n", i]);
    await refused(kv, atomic);
    assert.equal((await keysOf(kv.list({ prefix: ["n"] }))).length, 1_000);
  });

  test("commit() takes 780 KiB of values and refuses 819,201 bytes", async ({ kv }) => {
    const taken = kv.atomic();
    for (let i = 0; i < 13; i++) taken.set(["n", i], new Uint8Array(60 * 1024));
    assert.equal((await taken.commit()).ok, true);
    const atomic = kv.atomic().set(["b"], ONE);
    for (let i = 0; i < 12; i++) atomic.set(["c", i], new Uint8Array(65_536));
    await refused(
      kv,
      atomic.set(["c", 12], new Uint8Array(819_201 - 12 * 65_536)),
    );
  });

  test("commit() takes a key of 2,046 characters and refuses 2,048", async ({ kv }) => {
    await kv.atomic().set(["x".repeat(2_046)], ONE).commit();
    assert.deepEqual((await kv.get(["x".repeat(2_046)])).value, ONE);
    await refused(
      kv,
      kv.atomic().set(["b"], ONE).set(["x".repeat(2_048)], ONE),
    );
  });
}

function counterTests(test: Test): void {
  test("sum() counts from nothing, modulo 2 to the 64", async ({ kv }) => {
    const count = async () => {
      const { value } = await kv.get(["count"]);
      // A KvU64 of whichever library is behind it.
      return (value as { value: bigint }).value;
    };
    await kv.atomic().sum(["count"], 5n).commit();
    assert.equal(await count(), 5n);
    await Promise.all(
      Array.from({ length: 50 }, () => kv.atomic().sum(["count"], 2n).commit()),
    );
    assert.equal(await count(), 105n);
    await kv.atomic().sum(["count"], 2n ** 64n - 100n).commit();
    assert.equal(await count(), 5n);
  });
}

function watchTests(test: Test): void {
  test("watch() tells the state at first, then each change", async ({ kv }) => {
    await kv.atomic().set(["a"], ONE).commit();
    const reader = kv.watch([["a"], ["b"]]).getReader();
    assert.deepEqual(valuesOf(await next(reader)), [ONE, null]);
    await kv.atomic().set(["b"], ONE).commit();
    assert.deepEqual(valuesOf(await next(reader)), [ONE, ONE]);
    await kv.atomic().delete(["a"]).commit();
    assert.deepEqual(valuesOf(await next(reader)), [null, ONE]);
    await reader.cancel();
  });

  test("watch() may skip values, but never the last one", async ({ kv }) => {
    const reader = kv.watch([["a"]]).getReader();
    await next(reader);
    for (let i = 1; i <= 100; i++) {
      await kv.atomic().set(["a"], new Uint8Array([i])).commit();
    }
    let last = 0;
    for (let events = 0; last !== 100; events++) {
      assert.ok(events < 100);
      const [value] = valuesOf(await next(reader));
      assert.ok(
        value instanceof Uint8Array && (value[0] ?? 0) > last,
        `${value} after ${last}`,
      );
      last = value[0] ?? 0;
    }
    await reader.cancel();
  });

  test("watch() is heard by many, and ends where it is cancelled", async ({ kv }) => {
    const readers = Array.from(
      { length: 20 },
      () => kv.watch([["a"]]).getReader(),
    );
    for (const reader of readers) await next(reader);
    const [first, ...others] = readers;
    assert.ok(first);
    const ended = first.read();
    await first.cancel();
    assert.equal(
      (await within(ended, { describe: () => "the read of a cancelled watch" }))
        .done,
      true,
    );
    await kv.atomic().set(["a"], ONE).commit();
    for (const reader of others) {
      assert.deepEqual(valuesOf(await next(reader)), [ONE]);
      await reader.cancel();
    }
  });

  test("watch() ends when the KV is closed", async (opened) => {
    const reader = opened.kv.watch([["a"]]).getReader();
    await next(reader);
    const ended = reader.read();
    await opened.close();
    assert.equal(
      (await within(ended, { describe: () => "the read of a closed KV" })).done,
      true,
    );
  });

  test("watch() takes 10 keys and refuses one more", async ({ kv }) => {
    const reader = kv.watch(numbered(10)).getReader();
    assert.equal((await next(reader)).length, 10);
    await reader.cancel();
    await assert.rejects(async () =>
      await kv.watch(numbered(11)).getReader().read()
    );
  });
}

/** Asserts that a commit throws, and that what it named first was not written. */
async function refused(
  kv: OpenedKv["kv"],
  atomic: ReturnType<OpenedKv["kv"]["atomic"]>,
): Promise<void> {
  await assert.rejects(async () => await atomic.commit());
  assert.equal((await kv.get(["b"])).versionstamp, null);
}

async function next(
  reader: ReadableStreamDefaultReader<KvEntry[]>,
): Promise<KvEntry[]> {
  const { done, value } = await within(reader.read(), {
    describe: () => "the next event of a watch",
  });
  if (done) throw new Error("The watch has ended");
  return value;
}

function valuesOf(entries: KvEntry[]): unknown[] {
  return entries.map(({ value }) => value);
}

function numbered(count: number): KvKey[] {
  return Array.from({ length: count }, (_, i) => ["n", i]);
}

async function fill(kv: OpenedKv["kv"], keys: KvKey[]): Promise<void> {
  for (let at = 0; at < keys.length; at += 1_000) {
    const atomic = kv.atomic();
    for (const key of keys.slice(at, at + 1_000)) atomic.set(key, ONE);
    assert.equal((await atomic.commit()).ok, true);
  }
}

async function keysOf(entries: AsyncIterable<KvEntry>): Promise<KvKey[]> {
  const keys: KvKey[] = [];
  for await (const { key } of entries) keys.push(key);
  return keys;
}
