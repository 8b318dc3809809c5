/**
 * What really happened: every state that every store ever had, told by what
 * took effect in the KV and by nothing that a server says of itself.
 *
 * @module
 */
import { isDeepStrictEqual } from "node:util";
import type {
  AppliedWrite,
  KvDatabase,
} from "../../adapters/testing/simulated_kv.ts";
import { decodeBlobRef } from "../../server/log/blob_ref.ts";
import { decodeHead, type Head, snapshotsOf } from "../../server/log/head.ts";
import type { KvKey } from "../../server/ports.ts";
import { INITIAL } from "./application.ts";
import { Breach } from "./breach.ts";
import type { Change } from "./changes.ts";
import { type Effect, type Expectations, StoreTruth } from "./store_truth.ts";
import { StoredRecords } from "./stored_records.ts";

/** See the module's documentation. */
export class Truth {
  readonly #records: StoredRecords;
  readonly #stores = new Map<string, StoreTruth>();
  readonly #nowMs: () => number;
  readonly #expectations: Expectations = {
    meanings: new Map(),
    together: new Map(),
    repeatable: new Set(),
    committed: new Set(),
  };
  readonly #snapshots = new Map<string, string>();
  /** Snapshots that heads were pointed to. */
  compactions = 0;
  /** Commits that wrote to a store. */
  commits = 0;
  /** Bytes of the largest of them: what one message may carry. */
  largestBytes = 0;

  /** Listens to everything that takes effect in `kv`; `fail` takes what is wrong with it, and `nowMs` gives the time. */
  constructor(
    kv: KvDatabase,
    { nowMs, fail }: { nowMs: () => number; fail: (error: unknown) => void },
  ) {
    this.#nowMs = nowMs;
    this.#records = new StoredRecords(kv);
    kv.onCommit = ({ writes }) => {
      try {
        this.#take(writes);
      } catch (error) {
        // Thrown on, it would be taken for a failure of the KV.
        fail(error);
      }
    };
  }

  /** What happened to a store. */
  of(name: string): StoreTruth {
    const known = this.#stores.get(name);
    if (known) return known;
    const store = new StoreTruth(name, this.#expectations, this.#nowMs);
    this.#stores.set(name, store);
    return store;
  }

  /** What the write of a tag is to mean. */
  expect(tag: string, change: Change): void {
    this.#expectations.meanings.set(tag, change);
  }

  /** These take effect in one commit, or none of them does. */
  expectTogether(
    parts: readonly { readonly store: string; readonly tag: string }[],
  ): void {
    const keys = parts.map(({ store, tag }) => `${store} ${tag}`);
    for (const key of keys) this.#expectations.together.set(key, keys);
  }

  /** What takes effect along with a write, but for itself. */
  togetherWith(
    store: string,
    tag: string,
  ): { readonly store: string; readonly effect: Effect }[] {
    const { together, repeatable } = this.#expectations;
    const key = `${store} ${tag}`;
    return (together.get(key) ?? []).flatMap((other) => {
      const [name = "", tag = ""] = other.split(" ");
      const [effect, ...more] = this.of(name).effects.get(tag) ?? [];
      const isPlain = effect && more.length === 0 && !repeatable.has(tag);
      return other !== key && isPlain ? [{ store: name, effect }] : [];
    });
  }

  /** A tag may take effect again. */
  mayRepeat(tag: string): void {
    this.#expectations.repeatable.add(tag);
  }

  /** The KV holds what a backup held. */
  setBack(): void {
    for (const [name, store] of this.#stores) {
      store.setBack(this.#records.headOf(name));
    }
  }

  #take(writes: readonly AppliedWrite[]): void {
    const heads = writes.filter(({ key }) => key[1] === "head");
    for (const { key, value } of heads) {
      if (!value) continue;
      const head = decodeHead(value);
      this.#countSnapshot(String(key[3]), head);
      this.#beginIfNew(key, head);
      const { life } = this.of(String(key[3]));
      if (life) life.floor = head.floor;
    }
    for (const { key, value } of writes) {
      if (!value) this.#deleted(key);
      else if (key[1] === "log") this.#append(key, value);
    }
    for (const { key } of heads) this.#checkReadable(String(key[3]));
    this.#checkTogether();
  }

  #checkTogether(): void {
    const { committed, together, repeatable } = this.#expectations;
    for (const key of committed) {
      // What is taken back and made again store by store is another write.
      if (repeatable.has(key.split(" ")[1]!)) continue; // a name and a tag
      const missing = together.get(key)?.find((other) => !committed.has(other));
      if (missing === undefined) continue;
      throw new Breach(`"${key}" took effect without "${missing}"`);
    }
    committed.clear();
  }

  #beginIfNew(key: KvKey, head: Head): void {
    const store = this.of(String(key[3]));
    if (store.life?.epoch === head.epoch) return;
    // An epoch that begins with a state has taken it over from the one before.
    const base = head.mintedFrom === undefined ? 0 : head.version;
    const state = head.mintedFrom === undefined
      ? INITIAL
      : this.#records.snapshotOf(store.name, head, head.snapshot);
    if (store.life && head.mintedFrom === undefined) {
      throw new Breach(`Store ${store.name} was created while it existed`);
    }
    if (store.life) store.lives.at(-1)!.isOver = true; // it is the last
    const writer = head.mintedFrom === undefined ? "" : head.writer;
    store.begin({
      epoch: head.epoch,
      base,
      states: [state],
      timesMs: [this.#nowMs()],
      authors: [undefined],
      writer,
      floor: 0,
      isOver: false,
    });
  }

  #countSnapshot(name: string, { snapshot }: Head): void {
    if (!snapshot || this.#snapshots.get(name) === snapshot.id) return;
    this.#snapshots.set(name, snapshot.id);
    this.compactions++;
  }

  #append(key: KvKey, value: unknown): void {
    this.commits++;
    const bytes = decodeBlobRef(value)?.bytes ??
      (value as Uint8Array).byteLength; // the log stores nothing else there
    this.largestBytes = Math.max(this.largestBytes, bytes);
    this.of(String(key[3])).append(
      this.#records.entryOf(key, value),
      String(key[4]),
    );
  }

  #deleted(key: KvKey): void {
    const store = this.of(String(key[3]));
    const { life } = store;
    if (key[1] === "head" && life) life.isOver = true;
    if (!life || key[4] !== life.epoch) return;
    // What the head still promises must not be taken away.
    const head = this.#records.headOf(store.name);
    if (!head || head.epoch !== life.epoch) return;
    if (key[1] === "log" && Number(key[5]) > head.floor) {
      throw new Breach(
        `The log of ${store.name} was cut above its floor ${head.floor}`,
      );
    }
    if (
      key[1] === "blob" && snapshotsOf(head).some(({ id }) => key[5] === id)
    ) {
      throw new Breach(
        `A snapshot of ${store.name} was swept while it was in use`,
      );
    }
  }

  /** A snapshot and the log on top of it must give the state, at every moment. */
  #checkReadable(name: string): void {
    const head = this.#records.headOf(name);
    const store = this.of(name);
    const { newest, life } = store;
    if (!head || !newest || !life) return;
    if (head.version !== newest.moment.version || head.epoch !== life.epoch) {
      throw new Breach(
        `The head of ${name} is at ${head.version}, its log at ${newest.moment.version}`,
      );
    }
    if (head.floor > (head.snapshot?.version ?? 0)) {
      throw new Breach(`The floor of ${name} is above its snapshot`);
    }
    const snapshots = snapshotsOf(head);
    const [oldest] = snapshots;
    if (head.floor > 0 && oldest?.version !== head.floor) {
      throw new Breach(
        `The log of ${name} begins at ${head.floor}, the snapshots at ${oldest?.version}`,
      );
    }
    if (!head.snapshot) return;
    for (const snapshot of snapshots) {
      const { version } = snapshot;
      const state = this.#records.snapshotOf(name, head, snapshot);
      if (!isDeepStrictEqual(state, life.states[version - life.base])) {
        throw new Breach(
          `The snapshot of ${name} at ${version} is not what the store was`,
        );
      }
    }
    const { version } = head.snapshot;
    const end = this.#records.endOfLog(name, head.epoch, version);
    if (end === head.version) return;
    throw new Breach(
      `The log of ${name} ends at ${end}, its head is at ${head.version}`,
    );
  }
}
