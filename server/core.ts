/**
 * What a server has once its KV is open: stores, sessions, and the feed that
 * keeps it in step with others.
 *
 * @module
 */
import type { Limits } from "../protocol/limits.ts";
import type { CallScopes } from "./call_scope.ts";
import { Answers } from "./log/answers.ts";
import { AtomicWriter } from "./log/atomic_writer.ts";
import { BLOB_GRACE_MS, Sweeper } from "./log/blobs.ts";
import { EventFeed } from "./log/event_feed.ts";
import { FeedReader } from "./log/feed_reader.ts";
import { revisionKey } from "./log/keys.ts";
import type { FeedEvents } from "./log/feed_slot.ts";
import { Lane } from "./log/lane.ts";
import { PatientKv } from "./log/patient_kv.ts";
import type { Lifecycle } from "./lifecycle.ts";
import type { Logger } from "./logger.ts";
import type { Clock, OpenedKv, Random, Timer } from "./ports.ts";
import { type RevocationListener, Revocations } from "./revocations.ts";
import { Sessions } from "./sessions.ts";
import type { Definitions } from "./stores/definitions.ts";
import { StoreRegistry } from "./stores/registry.ts";

/** A KV that is far away takes several commits at once; a local file has one writer. */
const REMOTE_LANES = 4;
const SWEEP_MS = 5 * 60 * 1000;

/** What a core is made of. */
export interface CoreOptions {
  readonly opened: OpenedKv;
  readonly clock: Clock;
  readonly random: Random;
  readonly limits: Limits;
  readonly sync: boolean;
  readonly definitions: Definitions;
  readonly scopes: CallScopes;
  readonly logger: Logger;
  readonly lifecycle: Lifecycle;
  /** Id of this run of the server. */
  readonly serverId: string;
  /** Takes events of another server. */
  readonly receiveEvents: (sent: FeedEvents) => void;
  /** Who has to know whose access was revoked; nobody where it is absent. */
  readonly access?: RevocationListener & {
    /** How long it may be unknown. */
    readonly accessMs: number | undefined;
  };
}

const NOBODY: RevocationListener = {
  isNeeded: () => false,
  revoked: () => Promise.resolve(),
  lost: () => {},
};

/** See the module's documentation. */
export class Core {
  readonly opened: OpenedKv;
  readonly stores: StoreRegistry;
  readonly sessions: Sessions;
  readonly answers: Answers;
  /** Where events for other servers are written. */
  readonly eventFeed: EventFeed;
  readonly revocations: Revocations;
  readonly #feed: FeedReader | undefined;
  readonly #sweeper: Sweeper;
  readonly #clock: Clock;
  readonly #logger: Logger;
  #sweep: Timer | undefined;
  #isClosed = false;
  #sweeping: Promise<void> = Promise.resolve();

  private constructor(options: CoreOptions) {
    const { opened, clock, random, limits, sync, logger, lifecycle } = options;
    const { isLocal } = opened;
    const kv = new PatientKv(opened.kv, { clock, random }, limits.commitMs);
    this.opened = opened;
    this.#clock = clock;
    this.#logger = logger;
    this.sessions = new Sessions({
      kv,
      clock,
      random,
      sessionMs: limits.sessionMs,
    });
    const listener = options.access ?? NOBODY;
    this.revocations = new Revocations({
      kv,
      clock,
      random,
      commitMs: limits.commitMs,
      accessMs: options.access?.accessMs,
      listener,
      onError: (error) => {
        logger.warn("It cannot be told whose access was revoked: {error}", {
          error,
        });
        lifecycle.report(error);
      },
    });
    this.answers = new Answers(kv, {
      clock,
      random,
      keptMs: limits.sessionMs,
      limitMs: limits.commitMs,
    });
    this.#sweeper = new Sweeper(kv, () => clock.monotonic(), BLOB_GRACE_MS);
    const lanes = Array.from(
      { length: isLocal ? 1 : REMOTE_LANES },
      () =>
        new Lane({
          kv,
          clock,
          random,
          sync,
          commitMs: limits.commitMs,
          isLocal,
        }),
    );
    const jointWriters = lanes.map(() =>
      new AtomicWriter({ kv, clock, random, sync, isLocal })
    );
    this.stores = new StoreRegistry({
      env: {
        kv,
        clock,
        random,
        limits,
        onError: (error, { name }) => {
          logger.error("Store {name} failed: {error}", { name, error });
          lifecycle.report(error);
        },
        onLife: (what, { name }) => {
          const key = options.definitions.find(name)?.keyOf(name) ?? null;
          lifecycle.fire(what, name, key);
        },
      },
      lanes,
      jointWriters,
      commitMs: limits.commitMs,
      definitions: options.definitions,
      idleMs: limits.idleMs,
      leaseMs: limits.leaseMs,
      scopes: options.scopes,
    });
    const own = new Set([...lanes, ...jointWriters].map(({ feed }) => feed));
    this.eventFeed = new EventFeed({
      kv,
      clock,
      random,
      sender: options.serverId,
      commitMs: limits.commitMs,
      onFeed: (feed) => own.add(feed),
    });
    if (!sync) return;
    this.#feed = new FeedReader({
      kv,
      clock,
      isLocal,
      own,
      receive: (item) => this.stores.receive(item),
      receiveEvents: options.receiveEvents,
      checkAll: () => this.stores.checkAll(),
      ...(listener.isNeeded() && {
        bell: { key: revisionKey(), ring: () => this.revocations.ring() },
      }),
      onError: (error) => {
        logger.warn("The feeds could not be read: {error}", { error });
        lifecycle.report(error);
      },
    });
  }

  /** Opens a core; nothing is loaded before the feed's cursors are taken. */
  static async open(options: CoreOptions): Promise<Core> {
    const core = new Core(options);
    try {
      await core.#feed?.start();
      await core.revocations.start();
    } catch (error) {
      // Whoever asks next opens the KV anew; this handle would keep the process.
      await core.close();
      throw error;
    }
    core.stores.start();
    core.#scheduleSweep(0);
    return core;
  }

  /** Flushes what is queued, and lets go of everything. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#sweep?.cancel();
    await this.revocations.close();
    await this.stores.close();
    await this.#feed?.close();
    await this.#sweeping;
    this.sessions.close();
    await this.opened.close();
  }

  #scheduleSweep(ms: number): void {
    // A sweep that was under way when the core was closed ends after it.
    if (this.#isClosed) return;
    this.#sweep = this.#clock.setTimer(ms, () => {
      this.#sweeping = this.#sweeper.sweep()
        .then(() => this.stores.sweepExpired())
        .catch((error) =>
          this.#logger.warn("Leftovers could not be swept: {error}", { error })
        )
        .then(() => this.#scheduleSweep(SWEEP_MS));
    });
  }
}
