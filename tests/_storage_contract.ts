/**
 * What `ClientStorage` promises, as a list that every implementation runs: in Deno,
 * and in a page. So it asks for nothing of either.
 *
 * @module
 */
import type { ClientStorage } from "../client/storage.ts";

/** Opens the storage once more, as another tab does; the first is empty. */
export type OpenStorage = () => ClientStorage;

/** A claim, and what proves it; rejects if it does not hold. */
export type StorageClaim = readonly [
  claim: string,
  run: (open: OpenStorage) => Promise<void>,
];

/** The suite. */
export const storageContract: readonly StorageClaim[] = [
  ["load() gives what was saved, to every tab", async (open) => {
    const storage = open();
    equal(await load(storage), []);
    await storage.save(
      new Map([["b", "2"], ["a", "1"], ["ü\u0000", "\ud83d\ude00"]]),
    );
    const expected = [["a", "1"], ["b", "2"], ["ü\u0000", "\ud83d\ude00"]];
    equal(await load(storage), expected);
    equal(await load(open()), expected);
  }],
  ["save() replaces and deletes, and leaves the others", async (open) => {
    const storage = open();
    await storage.save(new Map([["a", "1"], ["b", "2"], ["c", "3"]]));
    await storage.save(
      new Map([["a", undefined], ["b", "4"], ["none", undefined]]),
    );
    equal(await load(storage), [["b", "4"], ["c", "3"]]);
  }],
  ["save() takes what it is given as it is at the call", async (open) => {
    const storage = open();
    const changes = new Map([["a", "1"]]);
    const saved = storage.save(changes);
    changes.set("b", "2");
    await saved;
    equal(await load(storage), [["a", "1"]]);
  }],
  [
    "its calls take effect in order, without waiting for each other",
    async (open) => {
      const storage = open();
      const all = [
        storage.save(new Map([["a", "1"]])),
        storage.save(new Map([["a", "2"], ["b", "1"]])),
        storage.clear(),
        storage.save(new Map([["a", "3"]])),
      ];
      const loaded = load(storage);
      await Promise.all(all);
      equal(await loaded, [["a", "3"]]);
    },
  ],
  ["save() holds long texts, and many", async (open) => {
    const storage = open();
    const long = "x".repeat(2 ** 20);
    const many = Array.from(
      { length: 1_000 },
      (_, n) => [`${n}`, `${n}`] as const,
    );
    await storage.save(new Map([["long", long], ...many]));
    const loaded = await open().load();
    equal(loaded.size, 1_001);
    equal(loaded.get("long")?.length, long.length);
    equal(loaded.get("999"), "999");
  }],
  ["clear() deletes everything", async (open) => {
    const storage = open();
    await storage.save(new Map([["a", "1"]]));
    await storage.clear();
    equal(await load(open()), []);
  }],
  ["lock() is had by one at a time, in turn", async (open) => {
    const { signal } = new AbortController();
    const order: string[] = [];
    const take = (name: string) =>
      open().lock("x", signal).then((release) => {
        order.push(name);
        return release;
      });
    const first = await take("first");
    const second = take("second");
    const third = take("third");
    const other = await open().lock("y", signal);
    equal(order, ["first"]);
    first();
    (await second)();
    (await third)();
    other();
    equal(order, ["first", "second", "third"]);
    (await open().lock("x", signal))();
  }],
  ["lock() stops waiting where its signal fires", async (open) => {
    const waiting = new AbortController();
    const release = await open().lock("x", new AbortController().signal);
    const rejected = open().lock("x", waiting.signal).then(
      () => false,
      () => true,
    );
    waiting.abort();
    equal(await rejected, true);
    release();
    release(); // does nothing more
    const again = await open().lock("x", new AbortController().signal);
    again();
    const late = open().lock("x", waiting.signal).then(() => false, () => true);
    equal(await late, true);
  }],
  ["maxBytes is how much may be kept", (open) => {
    const { maxBytes } = open();
    equal(Number.isSafeInteger(maxBytes) && maxBytes > 0, true);
    return Promise.resolve();
  }],
];

async function load(storage: ClientStorage): Promise<[string, string][]> {
  return [...await storage.load()].sort(([a], [b]) => a < b ? -1 : 1);
}

function equal(actual: unknown, expected: unknown): void {
  const [found, wanted] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (found !== wanted) throw new Error(`Expected ${wanted}, found ${found}`);
}
