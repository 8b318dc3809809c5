/**
 * What really happened to one store: its lives, the states of each, and what was
 * written under which tag.
 *
 * @module
 */
import { isDeepStrictEqual } from "node:util";
import { applyPatch } from "../../protocol/patch.ts";
import type { Json } from "../../protocol/value.ts";
import type { Head } from "../../server/log/head.ts";
import type { LogEntry } from "../../server/log/log_entry.ts";
import type { Mutation } from "../../server/log/mutation.ts";
import type { Ledger } from "./application.ts";
import { Breach } from "./breach.ts";
import { type Change, checkMeaning } from "./changes.ts";
import type { Moment } from "./moment.ts";

/** A write that took effect. */
export interface Effect extends Moment {
  /** When it was committed. */
  readonly madeMs: number;
  readonly n: number;
  /** False once the KV was set back to before it. */
  isKept: boolean;
}

/** One life of a store, from its creation to its deletion. */
export interface Life {
  readonly epoch: string;
  /** Version of the first of `states`. */
  readonly base: number;
  /** State of each version from `base` on. */
  readonly states: Ledger[];
  /** When each of them was committed. */
  readonly timesMs: number[];
  /** The client that made each of them, if it was one. */
  readonly authors: (string | undefined)[];
  writer: string;
  /** The log holds what was written above it. */
  floor: number;
  isOver: boolean;
}

/** What is known of writes before they take effect. */
export interface Expectations {
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
export class StoreTruth {
  readonly name: string;
  readonly lives: Life[] = [];
  /** What was written under each tag, by the versions that did it. */
  readonly effects = new Map<string, Effect[]>();
  /** Tags of each version of each epoch. */
  readonly #tags = new Map<string, Map<number, string[]>>();
  /** Numbered writes that took effect. */
  readonly #origins = new Set<string>();
  /** Items that were removed, and those of them that were brought back. */
  readonly #gone = new Set<string>();
  readonly #returned = new Set<string>();
  readonly #expectations: Expectations;
  readonly #nowMs: () => number;

  /** Nothing has happened to the store `name`. */
  constructor(
    name: string,
    expectations: Expectations,
    nowMs: () => number,
  ) {
    this.name = name;
    this.#nowMs = nowMs;
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

  /** When a version was committed. */
  madeMs({ life, version }: Moment): number {
    const { base, timesMs } = this.lives[life]!; // there is a moment of it
    return timesMs[version - base] ?? 0;
  }

  /** Whether the log still tells what was written to an epoch above a version. */
  reachesBack(epoch: string, version: number): boolean {
    const life = this.lives.find((one) => one.epoch === epoch);
    return life !== undefined && life.floor <= version;
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
    this.lives.push({
      ...before,
      states,
      timesMs: before.timesMs.slice(0, states.length),
      authors: before.authors.slice(0, states.length),
      writer: head.writer,
      floor: head.floor,
      isOver: false,
    });
  }

  #mutate(life: Life, mutation: Mutation): void {
    const before = life.states.at(-1)!; // a life has its first state
    // The patch is the only thing that other servers and clients get to see.
    const state = applyPatch(
      before as unknown as Json,
      mutation.patch,
    ) as unknown as Ledger;
    life.states.push(state);
    const madeMs = this.#nowMs();
    life.timesMs.push(madeMs);
    life.authors.push(mutation.author);
    if (state.items !== before.items) this.#compare(before, state);
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
        madeMs,
        isKept: true,
      });
      const change = this.#expectations.meanings.get(tag);
      if (change && !this.#expectations.repeatable.has(tag)) {
        checkMeaning({
          before: before.items,
          after: state.items,
          returned: this.#returned,
        }, change);
      }
    }
  }

  #compare(before: Ledger, after: Ledger): void {
    const known = new Set(before.items.map(({ id }) => id));
    for (const { id } of after.items) {
      if (!known.delete(id) && this.#gone.has(id)) this.#returned.add(id);
    }
    for (const id of known) this.#gone.add(id);
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
