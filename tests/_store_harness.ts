/**
 * Servers without sockets: a core with its stores over a KV that can fail, as
 * many of them over one KV as a test wants.
 *
 * @module
 */
import { denoPorts } from "../adapters/deno_ports.ts";
import { decodeDown, decodeJson } from "../protocol/codec.ts";
import type { DownFrame, ResumeToken } from "../protocol/frames.ts";
import { DEFAULT_LIMITS, type Limits } from "../protocol/limits.ts";
import { applyPatch } from "../protocol/patch.ts";
import type { Json } from "../protocol/value.ts";
import { CallScope, CallScopes } from "../server/call_scope.ts";
import { Core } from "../server/core.ts";
import type { FunctionsEnvironment } from "../server/calls.ts";
import { Failures } from "../server/failures.ts";
import { Functions } from "../server/functions.ts";
import { Lifecycle } from "../server/lifecycle.ts";
import type { FeedEvents } from "../server/log/feed_slot.ts";
import { newId } from "../server/log/ids.ts";
import { headKey, logPrefix, type StoreId } from "../server/log/keys.ts";
import { decodeHead, type Head } from "../server/log/head.ts";
import { decodeRecord } from "../server/log/record.ts";
import { loggerOf } from "../server/logger.ts";
import type { Clock, Kv, KvEntry, KvKey, Random } from "../server/ports.ts";
import { StoreAccess } from "../server/stores/access.ts";
import { StoreDefinition } from "../server/stores/definition.ts";
import { Definitions } from "../server/stores/definitions.ts";
import type { StoreOptions } from "../server/stores/store_options.ts";
import type { Delivery, Subscriber } from "../server/stores/fanout.ts";
import type { Position } from "../server/stores/recent_patches.ts";
import { DynamicStore } from "../server/stores/dynamic_store.ts";
import { StaticStore } from "../server/stores/static_store.ts";
import { answerSubscription } from "../server/stores/resume.ts";
import type { Store } from "../server/stores/store.ts";
import { FakeClock, settle } from "./_fake_clock.ts";
import { FaultyKv } from "./_kv_faults.ts";
import { DEADLINE_MS, until } from "./_waiting.ts";

const NAMESPACE = "default";

/** The counter that most tests change. */
export interface Counter {
  n: number;
}

/** What a {@linkcode TestNode} is made from. */
export interface NodeOptions {
  readonly sync?: boolean;
  readonly isLocal?: boolean;
  readonly clock?: Clock;
  readonly random?: Random;
  readonly limits?: Partial<Limits>;
  readonly isWatchDead?: boolean;
}

/** An empty KV in memory. */
export async function memoryKv(): Promise<Kv & Disposable> {
  const kv = await Deno.openKv(":memory:");
  return Object.assign(kv, { [Symbol.dispose]: () => kv.close() });
}

/** One server's core, its access to the KV, and handles of its stores. */
export class TestNode implements AsyncDisposable {
  readonly kv: FaultyKv;
  readonly definitions = new Definitions();
  readonly scopes: CallScopes;
  readonly access: StoreAccess;
  readonly functions = new Functions(DEFAULT_LIMITS.nameLength);
  readonly lifecycle: Lifecycle;
  /** What came in events of others. */
  readonly sent: FeedEvents[] = [];
  readonly #options: NodeOptions;
  #core: Core | undefined;
  #isClosed = false;

  constructor(kv: Kv, options: NodeOptions) {
    this.kv = new FaultyKv(kv);
    this.kv.isWatchDead = options.isWatchDead ?? false;
    this.#options = options;
    this.scopes = new CallScopes(denoPorts().createAmbient());
    this.lifecycle = new Lifecycle({
      clock: options.clock ?? denoPorts().clock,
      scopes: this.scopes,
      logger: loggerOf("test"),
    });
    this.access = new StoreAccess({
      registry: () => Promise.resolve(this.core.stores),
      opened: () => this.#core?.stores,
      scopes: this.scopes,
      namespace: NAMESPACE,
      nameLength: DEFAULT_LIMITS.nameLength,
    });
  }

  /** Opens the core; a store that is there before keeps its definition. */
  async open(): Promise<this> {
    const { clock, random } = denoPorts();
    const { sync = true, isLocal = true, limits } = this.#options;
    this.#core = await Core.open({
      opened: { kv: this.kv, isLocal, location: "test", close: async () => {} },
      clock: this.#options.clock ?? clock,
      random: this.#options.random ?? random,
      limits: { ...DEFAULT_LIMITS, commitMs: 2_000, ...limits },
      sync,
      definitions: this.definitions,
      scopes: this.scopes,
      logger: loggerOf("test"),
      lifecycle: this.lifecycle,
      serverId: newId(random),
      receiveEvents: (sent) => void this.sent.push(sent),
    });
    return this;
  }

  /** What is under test. */
  get core(): Core {
    if (!this.#core) throw new TypeError("The node is not open");
    return this.#core;
  }

  /** Defines a static store. */
  store<T extends object>(
    name: string,
    initial: T,
    options: StoreOptions = {},
  ): StaticStore<T> {
    return new StaticStore<T>(
      this.access,
      this.#define(name, initial, options),
    );
  }

  /** Defines dynamic stores. */
  dynamic<T extends object>(
    name: `${string}:*`,
    initial: T,
    options: StoreOptions = {},
  ): DynamicStore<T> {
    return new DynamicStore<T>(
      this.access,
      this.#define(name, initial, options),
    );
  }

  /** Runs a function's handler as the `call`-th call of a session, as a resend to any server would. */
  call<R>(
    id: {
      session?: string;
      call: number;
      oldest?: number;
      issuedAtMs?: number;
    },
    handler: () => R,
  ): R {
    const { session = "session", call, oldest = 1, issuedAtMs = Date.now() } =
      id;
    return this.scopes.run(
      new CallScope({ session, issuedAtMs, call, oldest }, {
        clientId: "client",
        user: null,
      }, {
        isResent: true,
      }),
      handler,
    );
  }

  /** What functions work with. */
  environment(): FunctionsEnvironment {
    const { sessions, stores, answers } = this.core;
    return {
      clock: this.#options.clock ?? denoPorts().clock,
      scopes: this.scopes,
      namespace: NAMESPACE,
      failures: new Failures({
        random: denoPorts().random,
        logger: loggerOf("test"),
        lifecycle: this.lifecycle,
        masks: false,
      }),
      sessions,
      stores,
      answers,
    };
  }

  /** The loaded store. */
  loaded(name: string): Store {
    const store = this.access.loaded(name);
    if (!store) throw new Error(`Store "${name}" is not loaded`);
    return store;
  }

  /** Proof of where the loaded store is, as a subscriber would keep it. */
  token(name: string): ResumeToken {
    return { ...this.loaded(name).fanout.position };
  }

  /** The frames that answer a subscription. */
  async answer(name: string, token?: ResumeToken): Promise<DownFrame> {
    const store = await this.access.open(name);
    const [frame] = decodeDown((await answerSubscription(store, token)).frame);
    if (!frame) throw new Error("No frame");
    return frame;
  }

  /** Closes the core; the KV stays open. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const { clock } = this.#options;
    const closing = Promise.resolve(this.#core?.close());
    // Whoever pauses before another try does so on this clock.
    await (clock instanceof FakeClock ? drive(clock, closing) : closing);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #define(
    name: string,
    initial: object,
    options: StoreOptions,
  ): StoreDefinition {
    const definition = new StoreDefinition(
      name,
      initial,
      options,
      DEFAULT_LIMITS.nameLength,
    );
    this.definitions.add(definition);
    return definition;
  }
}

/** Opens a node over `kv`; several may share one. */
export async function openNode(
  kv: Kv,
  options: NodeOptions = {},
): Promise<TestNode> {
  return await new TestNode(kv, options).open();
}

/** A node with a counter store. */
export async function openCounter(
  kv: Kv,
  options: NodeOptions & { store?: StoreOptions } = {},
): Promise<TestNode & { counter: StaticStore<Counter> }> {
  const node = new TestNode(kv, options);
  const counter = node.store<Counter>("Counter", { n: 0 }, options.store);
  return Object.assign(await node.open(), { counter });
}

/** Adds one. */
export function increment(draft: Counter): number {
  return ++draft.n;
}

/**
 * Writes to the counter until the log was worth a snapshot, and leaves it as it
 * was: a server that loads it now has to read the log for what came before.
 */
export async function outgrowLog(
  node: TestNode & { counter: StaticStore<Counter> },
): Promise<void> {
  for (let i = 0; i < 7; i++) {
    await node.counter.update((draft: Counter & { pad?: string }) => {
      if (i < 6) draft.pad = `${i} `.padEnd(12_000, ".");
      else delete draft.pad;
    });
    await until(() => node.loaded("Counter").isIdle);
  }
}

/** The id of a store of the tests' namespace. */
export function idOf(name: string): StoreId {
  return { namespace: NAMESPACE, name };
}

/** Everything under a prefix. */
export async function entriesOf(
  kv: Kv,
  prefix: KvKey = ["hw"],
): Promise<KvEntry[]> {
  return await Array.fromAsync(kv.list({ prefix }));
}

/** The keys of one kind, joined for reading. */
export async function keysOf(kv: Kv, kind: string): Promise<string[]> {
  return (await entriesOf(kv, ["hw", kind])).map(({ key }) =>
    key.slice(2).map(String).join("/")
  );
}

/** The head of a store, straight from the KV. */
export async function headOf(kv: Kv, name = "Counter"): Promise<Head> {
  return decodeHead((await kv.get(headKey(idOf(name)))).value);
}

/** Last versions of the entries in the log of a store's life. */
export async function logVersions(kv: Kv, name = "Counter"): Promise<number[]> {
  const { epoch } = await headOf(kv, name);
  return (await entriesOf(kv, logPrefix(idOf(name), epoch))).map(({ key }) =>
    Number(key.at(-1))
  );
}

/** The state that a server which has never seen the store reads. */
export async function freshState(
  kv: Kv,
  name = "Counter",
): Promise<Json | undefined> {
  await using node = new TestNode(kv, { sync: false });
  const store = node.store<Counter>(name, { n: 0 });
  await node.open();
  const state: unknown = await store.get();
  return state as Json; // every state is JSON
}

/** Last slot of each feed. */
export async function feedHeads(kv: Kv): Promise<number[]> {
  return (await entriesOf(kv, ["hw", "feed"])).map(({ value }) =>
    Number(decodeRecord(value, "feed")["s"])
  );
}

/** A subscriber that keeps a replica, and fails at once where it is sent what does not fit. */
export class Replica implements Subscriber {
  state: Json | undefined;
  position: Position | undefined;
  /** What came, in order. */
  readonly seen: string[] = [];
  readonly #store: Store;

  /** Follows a loaded store from here on. */
  constructor(store: Store) {
    this.#store = store;
    store.fanout.add(this);
    this.#take();
  }

  patched(_: unknown, { frame, from, version }: Delivery): void {
    const [patch] = decodeDown(frame);
    if (patch?.type !== "patch") throw new Error("Not a patch");
    if (from !== this.position?.version) {
      throw new Error(`Gap: at ${this.position?.version}, patch from ${from}`);
    }
    this.state = applyPatch(this.state ?? null, patch.patch);
    this.position = {
      ...this.position,
      version,
      writer: patch.writer ?? this.position.writer,
    };
    this.seen.push(`patch ${from}-${version}`);
  }

  jumped(): void {
    const { epoch, version } = this.#store.fanout.position;
    if (epoch === this.position?.epoch && version < this.position.version) {
      throw new Error(`Backwards: from ${this.position.version} to ${version}`);
    }
    this.#take();
    this.seen.push(`jump ${version}`);
  }

  ended(_: unknown, reason: "deleted" | Error): void {
    this.seen.push(
      reason === "deleted"
        ? "deleted"
        : `ended: ${"code" in reason ? reason.code : reason}`,
    );
  }

  /** Stops. */
  end(): void {
    this.#store.fanout.delete(this);
  }

  #take(): void {
    const [snap] = decodeDown(this.#store.fanout.frames.snapshot());
    if (snap?.type !== "snap") throw new Error("Not a snapshot");
    const { epoch, version, writer, state } = snap;
    this.state = state;
    this.position = { epoch, version, writer };
  }
}

/** Decodes what a record holds. */
export function jsonOf(bytes: unknown): Json {
  if (!(bytes instanceof Uint8Array)) throw new TypeError("Not bytes");
  return decodeJson(bytes);
}

/** Lets time pass until `promise` settles. */
export async function drive<T>(
  clock: FakeClock,
  promise: Promise<T>,
): Promise<T> {
  let isSettled = false;
  const settled = () => isSettled = true;
  promise.then(settled, settled);
  const deadline = performance.now() + DEADLINE_MS;
  while (!isSettled) {
    if (performance.now() > deadline) throw new Error("It never settles");
    await settle();
    // The KV is real and takes real time.
    if (FaultyKv.busy === 0) await clock.advance(1);
  }
  return await promise;
}
