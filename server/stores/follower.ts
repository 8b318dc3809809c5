/**
 * Follows what others committed to one loaded store: reads it when it may have
 * moved, and takes it over.
 *
 * @module
 */
import { HeadwaterError, unreachable } from "../../protocol/errors.ts";
import type { FeedItem } from "../log/feed_slot.ts";
import type { StoreId } from "../log/keys.ts";
import { readPast } from "../log/past.ts";
import type { ReadHead, ReadStore } from "../log/reader.ts";
import { schemaAfter } from "../log/log_entry.ts";
import type { Kv } from "../ports.ts";
import { readNews } from "./catch_up.ts";
import type { Fork } from "./fork.ts";
import { shapeError } from "./migration.ts";
import type { StoreMemory } from "./store_memory.ts";

/** What a follower needs of its surroundings. */
export interface FollowerEnvironment {
  readonly kv: Kv;
  /** Called with what is worth knowing, and does not end the store. */
  readonly onError: (error: unknown, id: StoreId) => void;
}

/** What one follower is made from. */
export interface FollowerParts {
  readonly id: StoreId;
  readonly memory: StoreMemory;
  readonly fork: Fork;
  /** Number of the shape of states that this server knows. */
  readonly schema: number;
  /** Called when the state was replaced: what is under way for the old one is void. */
  readonly replaced: () => void;
  /** Called when the KV has no such life of the store any more. */
  readonly gone: () => void;
  /** Called when the store cannot be read, and never will be. */
  readonly unreadable: (error: HeadwaterError) => void;
}

/** See the module's documentation. */
export class Follower {
  readonly #env: FollowerEnvironment;
  readonly #id: StoreId;
  readonly #memory: StoreMemory;
  readonly #fork: Fork;
  readonly #schema: number;
  readonly #replaced: () => void;
  readonly #gone: () => void;
  readonly #unreadable: (error: HeadwaterError) => void;
  #refreshing: Promise<void> | undefined;
  #isClosed = false;

  /** A follower of the store whose memory it moves. */
  constructor(
    env: FollowerEnvironment,
    { id, memory, fork, schema, replaced, gone, unreadable }: FollowerParts,
  ) {
    this.#env = env;
    this.#id = id;
    this.#memory = memory;
    this.#fork = fork;
    this.#schema = schema;
    this.#replaced = replaced;
    this.#gone = gone;
    this.#unreadable = unreadable;
  }

  /** Whether another server says that it wants to write, and nothing new. */
  isAsking({ epoch, version, entry, isDeleted }: FeedItem): boolean {
    return !isDeleted && !entry && epoch === this.#memory.epoch &&
      version <= this.#memory.version;
  }

  /** Takes what another server announced. */
  async receive(item: FeedItem): Promise<void> {
    const memory = this.#memory;
    const isKnown = item.epoch === memory.epoch;
    if (item.isDeleted && isKnown) return this.#gone();
    const { entry } = item;
    if (isKnown && item.version <= memory.version) {
      const writer = memory.fanout.frames.writerOf(item.version);
      if (!entry || !writer || writer === entry.writer) return;
      // That version is known with another past: the KV was set back.
      await this.check();
    } else if (
      isKnown && entry && !this.#fork.isPending && memory.isNext(entry) &&
      // One that changes the shape is read from the KV, where it may be refused.
      schemaAfter(entry) === undefined
    ) {
      memory.forgetStamp();
      try {
        memory.advance(entry);
      } catch {
        // Whether the log is corrupt, too, is seen in the log.
        await this.check();
      }
    } else {
      await this.check();
    }
  }

  /** Reads the head, and what was committed before this was called. */
  async check(): Promise<void> {
    await this.reread();
    await this.#fork.settled;
  }

  /** The same, but it does not wait until a new epoch is begun. */
  async reread(): Promise<void> {
    // A read that is under way may have passed the head already.
    await this.#refreshing?.catch(() => {});
    if (this.#isClosed) return;
    this.#memory.forgetStamp();
    await this.refresh();
  }

  /** Makes sure that the head is known, by reading it and what others committed if need be. */
  async refresh(): Promise<void> {
    if (this.#memory.stamp !== undefined || this.#isClosed) return;
    // Feed, poll and lane may ask at once: one read serves them all.
    this.#refreshing ??= this.#catchUp().finally(() =>
      this.#refreshing = undefined
    );
    await this.#refreshing;
  }

  /** Takes nothing any more. */
  close(): void {
    this.#isClosed = true;
  }

  async #catchUp(): Promise<void> {
    try {
      await this.#look();
    } catch (error) {
      const isCorrupt = error instanceof HeadwaterError &&
        error.code === "store_unreadable";
      // Subscribers have to know that nothing will come any more.
      if (isCorrupt) this.#unreadable(error);
      throw error;
    }
  }

  async #look(): Promise<void> {
    const memory = this.#memory;
    const news = await readNews(
      this.#env.kv,
      this.#id,
      memory.head && memory.position,
    );
    if (this.#isClosed) return;
    if ("read" in news) this.#checkShape(news.read);
    if ("store" in news) this.#checkShape(news.store);
    switch (news.kind) {
      case "absent":
        if (memory.head) return this.#gone();
        return memory.takeAbsence(await readPast(this.#env.kv, this.#id));
      case "replaced":
        return this.#gone();
      case "entries":
        for (const entry of news.entries) {
          // The feed may have been quicker while this was read.
          if (memory.isNext(entry)) memory.advance(entry);
        }
        return memory.arrive(news.read);
      case "jump":
        if (this.#isPast(news.store)) return;
        this.#adopt(news.store);
        return memory.jump();
      case "fork":
        this.#adopt(news.store);
        this.#fork.begin();
        return this.#env.onError(
          setBackError(this.#id, memory.version),
          this.#id,
        );
      default:
        return unreachable(news);
    }
  }

  /**
   * Refuses a state that a newer server has migrated: what this one would make of
   * it, or write to it, nobody could read. So it does with one that was set back to
   * an older shape: the next load migrates it.
   */
  #checkShape({ head: { schema: stored = 1 } }: ReadHead): void {
    const known = this.#schema;
    if (stored <= known && stored >= this.#memory.schema) return;
    throw shapeError(this.#id.name, { stored, known });
  }

  /** Whether the feed was quicker than this read. */
  #isPast({ head }: ReadStore): boolean {
    return !this.#fork.isPending && head.epoch === this.#memory.epoch &&
      head.version < this.#memory.version;
  }

  #adopt(read: ReadStore): void {
    this.#memory.adopt(read);
    this.#replaced();
  }
}

function setBackError({ name }: StoreId, version: number): HeadwaterError {
  const message =
    `Store "${name}" was set back to version ${version}: it goes on in a new epoch`;
  return new HeadwaterError("store_unreadable", message);
}
