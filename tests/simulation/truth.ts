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
import { decodeJson } from "../../protocol/codec.ts";
import { applyPatch } from "../../protocol/patch.ts";
import type { Json } from "../../protocol/value.ts";
import { blobPrefix, logPrefix } from "../../server/log/keys.ts";
import { type BlobRef, decodeBlobRef } from "../../server/log/blob_ref.ts";
import {
  decodeHead,
  type Head,
  type SnapshotRef,
  snapshotsOf,
} from "../../server/log/head.ts";
import { decodeEntry, type LogEntry } from "../../server/log/log_entry.ts";
import type { Mutation } from "../../server/log/mutation.ts";
import type { KvKey } from "../../server/ports.ts";
import { INITIAL, type Ledger } from "./application.ts";
import { Breach } from "./breach.ts";
import { type Change, checkMeaning } from "./changes.ts";
import type { Moment } from "./moment.ts";

/** The only namespace of the application. */
const NAMESPACE = "default";

/** A write that took effect. */
export interface Effect extends Moment {
  readonly n: number;
  /** False once the KV was set back to before it. */
  isKept: boolean;
}

/** One life of a store, from its creation to its deletion. */
interface Life {
  readonly epoch: string;
  /** Version of the first of `states`. */
  readonly base: number;
  /** State of each version from `base` on. */
  readonly states: Ledger[];
  writer: string;
  isOver: boolean;
}

/** What is known of writes before they take effect. */
interface Expectations {
  /** What changes are to mean. */
  readonly meanings: Map<string, Change>;
  /** What takes effect in one commit or not at all, by each of it. */
  readonly together: Map<string, readonly string[]>;
  /** Tags that may take effect again, as what was taken back is made again. */
  readonly repeatable: Set<string>;
  /** What the commit at hand has written. */
  readonly committed: Set<string>;
}

/** All lives of one store. */
class StoreTruth {
  readonly name: string;
  readonly lives: Life[] = [];
  /** What was written under each tag, by the versions that did it. */
  readonly effects = new Map<string, Effect[]>();
  /** Tags of each version of each epoch. */
  readonly #tags = new Map<string, Map<number, string[]>>();
  /** Numbered writes that took effect. */
  readonly #origins = new Set<string>();
  readonly #expectations: Expectations;

  constructor(name: string, expectations: Expectations) {
    this.name = name;
    this.#expectations = expectations;
  }

  /** The life that goes on now. */
  get life(): Life | undefined {
    const life = this.lives.at(-1);
    return life?.isOver ? undefined : life;
  }

  /** Version and state as the KV has them; undefined where the store does not exist. */
  get newest(): { moment: Moment; state: Ledger } | undefined {
    const { life } = this;
    if (!life) return undefined;
    const version = life.base + life.states.length - 1;
    const moment = { life: this.lives.length - 1, epoch: life.epoch, version };
    return { moment, state: life.states.at(-1)! }; // it has its first
  }

  /** Begins a life. */
  begin(life: Life): void {
    if (this.lives.some(({ epoch }) => epoch === life.epoch)) {
      throw new Breach(`Store ${this.name} has the epoch ${life.epoch} twice`);
    }
    this.lives.push(life);
  }

  /** Adds what one commit wrote. */
  append(entry: LogEntry, epoch: string): void {
    const { life, name } = this;
    if (!life || life.epoch !== epoch) {
      throw new Breach(
        `An entry of ${name} was written to an epoch that is over`,
      );
    }
    const at = life.base + life.states.length - 1;
    if (entry.from !== at) {
      throw new Breach(
        `An entry of ${name} begins at version ${entry.from}, the store is at ${at}`,
      );
    }
    if (entry.previous !== life.writer) {
      throw new Breach(`An entry of ${name} follows another past at ${at}`);
    }
    life.writer = entry.writer;
    for (const mutation of entry.mutations) this.#mutate(life, mutation);
  }

  /** Every moment at which the store was in that state. */
  momentsOf(version: number, state: unknown): Moment[] {
    const moments: Moment[] = [];
    for (const [index, { epoch, base, states }] of this.lives.entries()) {
      const known = states[version - base];
      if (known !== undefined && isDeepStrictEqual(known, state)) {
        moments.push({ life: index, epoch, version });
      }
    }
    return moments;
  }

  /** Tags that were written to an epoch above one version, up to another. */
  tagsOf(epoch: string, from: number, to: number): string[] {
    const tags: string[] = [];
    for (let version = from + 1; version <= to; version++) {
      tags.push(...this.#tags.get(epoch)?.get(version) ?? []);
    }
    return tags;
  }

  /** States of an epoch from one version on, up to the one before another. */
  statesOf(
    epoch: string,
    from: number,
    to: number,
  ): readonly Ledger[] | undefined {
    const life = this.lives.find((one) => one.epoch === epoch);
    return life?.states.slice(from - life.base, to - life.base);
  }

  /** The KV was set back to a time when the store was at that version of that epoch. */
  setBack(head: Head | undefined): void {
    const before = this.lives.find(({ epoch }) => epoch === head?.epoch);
    if (this.life) this.lives.at(-1)!.isOver = true; // it is the last
    const version = head?.version ?? 0;
    for (const effects of this.effects.values()) {
      for (const effect of effects) {
        const isBefore = before !== undefined &&
          (effect.epoch === head!.epoch // set where `before` is
            ? effect.version <= version
            : effect.life < this.lives.indexOf(before));
        effect.isKept &&= isBefore;
      }
    }
    this.#origins.clear();
    if (!before || !head) return;
    const states = before.states.slice(0, version - before.base + 1);
    this.lives.push({ ...before, states, writer: head.writer, isOver: false });
  }

  #mutate(life: Life, mutation: Mutation): void {
    const before = life.states.at(-1)!; // a life has its first state
    // The patch is the only thing that other servers and clients get to see.
    const state = applyPatch(
      before as unknown as Json,
      mutation.patch,
    ) as unknown as Ledger;
    life.states.push(state);
    const version = life.base + life.states.length - 1;
    const { origin } = mutation;
    if (origin) {
      const key = `${origin.session}/${origin.call}/${origin.n}`;
      if (this.#origins.has(key)) {
        throw new Breach(`Write ${key} took effect twice in ${this.name}`);
      }
      this.#origins.add(key);
    }
    const written = Object.keys(state.writes).filter((tag) =>
      state.writes[tag] !== before.writes[tag]
    );
    if (state.note !== before.note && state.note) written.push(state.note);
    for (const tag of written) {
      this.#effect(tag, {
        life: this.lives.length - 1,
        epoch: life.epoch,
        version,
        n: state.n,
        isKept: true,
      });
      const change = this.#expectations.meanings.get(tag);
      if (change && !this.#expectations.repeatable.has(tag)) {
        checkMeaning(before.items, state.items, change);
      }
    }
  }

  #effect(tag: string, effect: Effect): void {
    const { committed, repeatable } = this.#expectations;
    committed.add(`${this.name} ${tag}`);
    const effects = this.effects.get(tag) ?? [];
    if (effects.some(({ isKept }) => isKept) && !repeatable.has(tag)) {
      throw new Breach(`"${tag}" was written to ${this.name} twice`);
    }
    this.effects.set(tag, [...effects, effect]);
    const tags = this.#tags.get(effect.epoch) ?? new Map<number, string[]>();
    this.#tags.set(effect.epoch, tags);
    tags.set(effect.version, [...tags.get(effect.version) ?? [], tag]);
  }
}

/** See the module's documentation. */
export class Truth {
  readonly #kv: KvDatabase;
  readonly #stores = new Map<string, StoreTruth>();
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

  /** Listens to everything that takes effect in `kv`; `fail` takes what is wrong with it. */
  constructor(kv: KvDatabase, fail: (error: unknown) => void) {
    this.#kv = kv;
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
    const store = new StoreTruth(name, this.#expectations);
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
    for (const [name, store] of this.#stores) store.setBack(this.#headOf(name));
  }

  #take(writes: readonly AppliedWrite[]): void {
    const heads = writes.filter(({ key }) => key[1] === "head");
    for (const { key, value } of heads) {
      if (!value) continue;
      const head = decodeHead(value);
      this.#countSnapshot(String(key[3]), head);
      this.#beginIfNew(key, head);
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
      : this.#snapshotOf(store.name, head, head.snapshot);
    if (store.life && head.mintedFrom === undefined) {
      throw new Breach(`Store ${store.name} was created while it existed`);
    }
    if (store.life) store.lives.at(-1)!.isOver = true; // it is the last
    const writer = head.mintedFrom === undefined ? "" : head.writer;
    store.begin({
      epoch: head.epoch,
      base,
      states: [state],
      writer,
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
    this.of(String(key[3])).append(this.#entryOf(key, value), String(key[4]));
  }

  #deleted(key: KvKey): void {
    const store = this.of(String(key[3]));
    const { life } = store;
    if (key[1] === "head" && life) life.isOver = true;
    if (!life || key[4] !== life.epoch) return;
    // What the head still promises must not be taken away.
    const head = this.#headOf(store.name);
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
    const head = this.#headOf(name);
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
      const state = this.#snapshotOf(name, head, snapshot);
      if (!isDeepStrictEqual(state, life.states[version - life.base])) {
        throw new Breach(
          `The snapshot of ${name} at ${version} is not what the store was`,
        );
      }
    }
    let next = head.snapshot.version;
    const id = { namespace: NAMESPACE, name };
    for (const { key } of this.#kv.entries(logPrefix(id, head.epoch))) {
      const last = Number(key.at(-1));
      if (last > next) next = last;
    }
    if (next !== head.version) {
      throw new Breach(
        `The log of ${name} ends at ${next}, its head is at ${head.version}`,
      );
    }
  }

  #headOf(name: string): Head | undefined {
    for (const { key, value } of this.#kv.entries(["hw", "head", NAMESPACE])) {
      if (key[3] === name) return decodeHead(value);
    }
    return undefined;
  }

  #entryOf(key: KvKey, value: unknown): LogEntry {
    const blob = decodeBlobRef(value);
    if (!blob) return decodeEntry(value);
    return decodeEntry(this.#bytesOf(String(key[3]), String(key[4]), blob));
  }

  #snapshotOf(
    name: string,
    { epoch }: Head,
    snapshot: SnapshotRef | undefined,
  ): Ledger {
    if (!snapshot) {
      throw new Breach(`An epoch of ${name} begins without a state`);
    }
    const bytes = this.#bytesOf(name, epoch, snapshot);
    const state = decodeJson(bytes.subarray(0, snapshot.stateBytes));
    return state as unknown as Ledger; // the application's stores have no other
  }

  #bytesOf(name: string, epoch: string, blob: BlobRef): Uint8Array {
    const id = { namespace: NAMESPACE, name };
    const chunks: Uint8Array[] = [];
    for (const { value } of this.#kv.entries(blobPrefix(id, epoch, blob.id))) {
      chunks.push(value as Uint8Array); // the log stores nothing else there
    }
    if (chunks.length !== blob.chunks) {
      throw new Breach(
        `${chunks.length} of ${blob.chunks} chunks of ${name} are there`,
      );
    }
    const bytes = new Uint8Array(blob.bytes);
    let offset = 0;
    for (const chunk of chunks) {
      bytes.set(chunk, offset);
      offset += chunk.byteLength;
    }
    return bytes;
  }
}
