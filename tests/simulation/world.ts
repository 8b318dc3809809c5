/**
 * One history in the making: the simulation, the application on its servers, the
 * people at its clients, and what is known about all of them.
 *
 * @module
 */
import type {
  SeededRandom,
  SimulatedClient,
  SimulatedServer,
  Simulation,
} from "../../adapters/testing/mod.ts";
import type { KvBackup } from "../../adapters/testing/simulated_kv.ts";
import { HeadwaterError } from "../../protocol/errors.ts";
import type { Health } from "../../server/http/routes.ts";
import {
  add,
  app,
  defineApplication,
  type Ledger,
  type Receipt,
  storeOn,
  type Task,
} from "./application.ts";
import { Breach } from "./breach.ts";
import { ClientWriter } from "./client_writer.ts";
import type { Faults } from "./faults.ts";
import { Observer } from "./observer.ts";
import { type OwnWrite, OwnWrites } from "./own_writes.ts";
import type { Plan } from "./plan.ts";
import { Truth } from "./truth.ts";
import { Writes } from "./writes.ts";

/** A client, and what it looks at. */
export interface Person {
  readonly name: string;
  readonly running: SimulatedClient;
  readonly observers: Map<string, Observer>;
  /** What it has written, and expects of its calls. */
  readonly own: OwnWrites;
  /** Calls and writes without an answer. */
  pending: number;
  /** How often it has lost its connection. */
  losses: number;
}

/** A state without its bulk is smaller, in any history. */
const SMALL_STATE_BYTES = 10_000;

/** Up to twice that what was missed is sent, and up to twice the state, if that is more. */
const DELTA_BYTES = 64 * 1024;

/** How long a client waits for an answer. */
const RPC_MS = 20_000;

/** See the module's documentation. */
export class World {
  readonly simulation: Simulation;
  readonly plan: Plan;
  readonly random: SeededRandom;
  readonly truth: Truth;
  readonly writes: Writes = new Writes();
  /** Makes what clients write themselves. */
  readonly client: ClientWriter = new ClientWriter(this);
  readonly people: Person[] = [];
  /** What each client that ever was has written. */
  readonly owns: OwnWrites[] = [];
  /** What was done, for whoever has to understand a failure. */
  readonly trace: string[] = [];
  /** States that clients were shown. */
  shown = 0;
  /** Answers to writes that were compared with what their caller is shown. */
  readYourWrites = 0;
  /** What has gone wrong, by the moves. */
  readonly faults: Pick<Faults, "clockJumps" | "restarts" | "brokenWatches"> = {
    clockJumps: 0,
    restarts: 0,
    brokenWatches: 0,
  };
  #expiries = 0;
  readonly #updates = new WeakMap<SimulatedServer, number>();
  readonly #launched = new Set<string>();
  #failure: unknown;
  #backup: KvBackup | undefined;
  #isRestored = false;
  #isWell = false;
  #tags = 0;
  #names = 0;

  /** An empty world. */
  constructor(simulation: Simulation, plan: Plan) {
    this.simulation = simulation;
    this.plan = plan;
    this.random = simulation.random;
    this.truth = new Truth(simulation.kv, (error) => this.fail(error));
    simulation.kv.onExpire = (keys) => void (this.#expiries += keys.length);
    // A watch on a file tells nothing of other processes.
    simulation.kv.faults.isWatchShared = !plan.isLocal;
    this.heal();
    if (plan.isBroken) {
      simulation.network.faults.lose = 0.03;
      simulation.network.faults.duplicate = 0.2;
    }
  }

  /** Everything that has gone wrong. */
  get allFaults(): Faults {
    const { simulation, truth, client, faults } = this;
    return {
      ...simulation.network.counts,
      ...faults,
      expiries: this.#expiries,
      compactions: truth.compactions,
      rebases: client.rebases,
      conflicts: client.conflicts,
    };
  }

  /** Whether nothing goes wrong any more. */
  get isWell(): boolean {
    return this.#isWell;
  }

  /** Name of a server of the plan that does not run. */
  get stoppedServer(): string | undefined {
    const { plan, simulation: { servers } } = this;
    for (let number = 1; number <= plan.servers; number++) {
      const name = `server-${number}`;
      if (!servers.some((server) => server.name === name)) return name;
    }
    return undefined;
  }

  /** One of the stores that the plan uses. */
  readonly pickStore = (): string => this.random.pick(this.plan.stores);

  /** One of them that may be deleted. */
  pickDynamicStore(): string {
    const dynamic = this.plan.stores.filter((name) => name.includes(":"));
    return this.random.pick(dynamic);
  }

  /** Ends what goes wrong with the KV; it stays as far away as it was. */
  healKv(): void {
    const { faults } = this.simulation.kv;
    faults.heal();
    faults.latencyMs = this.plan.latencyMs;
  }

  /** From here on nothing goes wrong any more: whatever is asked for is done. */
  makeWell(): void {
    this.#isWell = true;
  }

  /** Ends everything that goes wrong. */
  heal(): void {
    this.simulation.heal();
    this.healKv();
    this.simulation.network.faults.latencyMs = this.plan.latencyMs;
  }

  /** Whether there is a backup of the KV. */
  get isBackedUp(): boolean {
    return this.#backup !== undefined;
  }

  /** Whether the KV was set back to it. */
  get isRestored(): boolean {
    return this.#isRestored;
  }

  /** Takes a backup of the KV. */
  backUp(): void {
    this.note("a backup is taken");
    this.#backup = this.simulation.kv.backup();
  }

  /** Sets the KV back to the backup, while servers run or not; of them only `survivor`, if given. */
  restore(survivor?: SimulatedServer): void {
    if (!this.#backup) return;
    this.note("the backup is restored");
    const { kv, network, servers } = this.simulation;
    // A server that compacts must not survive it: what it trims may be needed again.
    const survive = this.plan.padSize < 1_000 && this.random.chance(0.5);
    kv.faults.outlives = 0;
    for (const server of servers) {
      if (survivor ? server !== survivor : !survive) server.crash();
    }
    // Whoever is at a server that lives goes on without having noticed.
    if (!survivor) { for (const link of network.links) link.cut(); }
    // A file that is restored gives versionstamps a second time. A server that has seen
    // the first could not tell, which is why it must not run meanwhile.
    const { stamp } = survivor || survive ? kv.backup() : this.#backup;
    kv.restore({ ...this.#backup, stamp });
    this.truth.setBack();
    this.#isRestored = true;
  }

  /** Lets every server find out that the KV was set back: with its next write to a store. */
  touchAll(): void {
    if (!this.#isRestored) return;
    for (const server of this.simulation.servers) {
      for (const store of this.plan.stores) this.update(server, store);
    }
  }

  /** Notes what is done, with its time. */
  readonly note = (what: string): void => {
    const at = (this.simulation.clock.elapsedMs / 1000).toFixed(3);
    this.trace.push(`${at} ${what}`);
  };

  /** Notes that a promise was broken, wherever that was noticed. */
  readonly fail = (error: unknown): void => {
    this.#failure ??= error;
  };

  /** Throws what was noticed. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** What waits for clients that do not read has a bound, whatever is written meanwhile. */
  readonly checkBacklog = (
    server: string,
    { slow, slowBytes }: Health,
  ): void => {
    const { outboxBytes, padSize, stores } = this.plan;
    // One message may go over the bound, with a batch of writes, what was missed or a
    // snapshot of every store, and answers.
    const each = outboxBytes + this.truth.largestBytes +
      stores.length * 2 * Math.max(DELTA_BYTES, padSize + SMALL_STATE_BYTES);
    const most = 1.5 * Number(slow) * each;
    if (Number(slowBytes) <= most) return;
    throw new Breach(
      `${slowBytes} bytes wait in ${server} for ${slow} clients, over ${most}`,
    );
  };

  /** Starts the server of that name, which may crash before it listens. */
  launch(name: string): SimulatedServer {
    const { plan } = this;
    if (this.#launched.has(name)) this.faults.restarts++;
    this.#launched.add(name);
    const started = this.simulation.launchServer(
      (server, clock) =>
        defineApplication(server, {
          clock,
          keptVersions: plan.keptVersions,
          newId: () => String(++this.#names),
        }),
      {
        app,
        name,
        isLocal: plan.isLocal,
        sync: plan.sync,
        heartbeatMs: 5_000,
        limits: {
          outboxBytes: plan.outboxBytes,
          commitMs: plan.commitMs,
          idleMs: 8_000,
          stallMs: 8_000,
        },
      },
    );
    // Whoever starts a server that cannot open its KV tries again.
    started.listening.catch(() => {
      this.note(`${name} could not start`);
      started.crash();
    });
    return started;
  }

  /** Starts every server of the plan that does not run. */
  launchAll(): void {
    for (let name = this.stoppedServer; name; name = this.stoppedServer) {
      this.note(`${name} starts`);
      this.launch(name);
    }
  }

  /** Adds a client that looks at some stores. */
  enter(): Person {
    const running = this.simulation.createClient({
      app,
      rpcTimeoutMs: RPC_MS,
      reconnectDelayMs: 100,
      reconnectMaxMs: 2_000,
      reportError: this.fail,
    });
    const name = `client ${++this.#names}`;
    const own = new OwnWrites(name, this.truth, this.plan.isBroken);
    this.owns.push(own);
    const person: Person = {
      name,
      running,
      observers: new Map<string, Observer>(),
      own,
      pending: 0,
      losses: 0,
    };
    running.client.on("disconnected", () => person.losses++);
    running.client.on("error", (error) => {
      this.note(`${name} fires ${error}`);
      this.refuseFalseWords(error);
      // Which of them is not known to whoever listens.
      for (const observer of person.observers.values()) observer.refused();
    });
    running.client.on("storeDeleted", (name) => {
      person.observers.get(name)?.deleted();
      person.observers.delete(name);
      own.gone(name);
    });
    this.people.push(person);
    return person;
  }

  /** Lets a client look at a store, if it does not. */
  look(person: Person, store: string): void {
    if (person.observers.has(store)) return;
    const { name: who, running: { client } } = person;
    const { truth, fail, plan: { isBroken, isLong } } = this;
    const observer = new Observer(client, {
      who,
      store,
      truth,
      own: person.own,
      losses: () => person.losses,
      neighbour: (store) => person.observers.get(store),
      isBroken,
      // Who slept past the feeds reads stores one by one.
      comesTogether: () => !isLong && !isBroken && !this.#isRestored,
      isRestored: () => this.#isRestored,
      fail,
    });
    person.observers.set(store, observer);
  }

  /** A client crashes, and another one comes that looks at `stores`. */
  replace(person: Person, stores: readonly string[]): void {
    this.note(`${person.name} crashes`);
    person.running.crash();
    this.leave(person);
    const next = this.enter();
    for (const store of stores) this.look(next, store);
  }

  /** Takes a client out. */
  leave(person: Person): void {
    this.people.splice(this.people.indexOf(person), 1);
    for (const { count } of person.observers.values()) this.shown += count;
  }

  /** A tag that no other write has. */
  newTag(): string {
    return `t${++this.#tags}`;
  }

  /** Calls a function, and checks what comes back. */
  call(
    person: Person,
    name: string,
    stores: readonly string[],
    { isOptimistic = false }: {
      /** Whether the caller shows at once what it expects. */
      isOptimistic?: boolean;
    } = {},
  ): void {
    const { truth, writes } = this;
    const task = this.#taskOf(stores);
    this.note(`${person.name} calls ${name} ${task.tag} on ${stores}`);
    writes.ask(task.tag, stores);
    if (name === "transact") {
      truth.expectTogether(stores.map((store) => ({ store, tag: task.tag })));
    }
    const guesses = isOptimistic ? guessesOf(person, stores, task.tag) : [];
    const optimistic = Object.fromEntries(
      guesses.map(({ store, tag }) => [store, guessOf(tag)]),
    );
    person.pending++;
    person.running.client.call<Receipt[] | undefined>(name, task, {
      optimistic,
    })
      .finally(() => guesses.forEach((guess) => person.own.end(guess)))
      .then(
        (receipts = []) => {
          this.note(`${person.name} has the answer to ${task.tag}`);
          refuseForeign(task.tag, receipts);
          writes.acknowledge(truth, receipts);
          for (const receipt of receipts) this.checkShown(person, receipt);
        },
        (error) => {
          this.note(`${person.name} is told of ${task.tag}: ${error}`);
          // A store that ends by its time takes with it what is about to be written.
          const hasExpired = String(error).includes("was deleted");
          if (this.#isWell && !hasExpired) {
            this.fail(
              new Breach(`Nothing is wrong, yet a call fails: ${error}`),
            );
          }
          this.refuseFalseWords(error);
          // Which of several stores an error is about is not known.
          const isOne = stores.length === 1 || name === "transact";
          const known = isOne ? stores : [];
          writes.failed(task.tag, known, error);
        },
      ).catch(this.fail).finally(() => person.pending--);
  }

  /** Writes on a server, outside of any call; as much as the plan allows, where it is to be big. */
  update(on: SimulatedServer, store: string, isBig = false): void {
    const { truth, writes, plan: { padSize } } = this;
    const { name, server } = on;
    const task = {
      ...this.#taskOf([store]),
      ...(isBig && { size: padSize }),
    };
    this.note(`${name} updates ${store} with ${task.tag}`);
    writes.ask(task.tag, [store]);
    this.#updates.set(on, this.updatesOf(on) + 1);
    add(storeOn(server, store), task).then(
      (receipt) => writes.acknowledge(truth, [receipt]),
      (error) => {
        this.refuseFalseWords(error);
        writes.failed(task.tag, [store], error);
      },
    ).catch(this.fail).finally(() =>
      this.#updates.set(on, this.updatesOf(on) - 1)
    );
  }

  /** Reads on a server, outside of any call. */
  read({ server }: SimulatedServer, store: string): void {
    server.store(store)?.get().catch((error) => this.refuseFalseWords(error));
  }

  /** Writes on that server, outside of any call, of which nothing was heard yet. */
  updatesOf(server: SimulatedServer): number {
    return this.#updates.get(server) ?? 0;
  }

  /** Nothing here corrupts the KV: whoever says so has read it wrongly. */
  readonly refuseFalseWords = (error: unknown): void => {
    if (!(error instanceof HeadwaterError)) return;
    // Nobody is told that a call is not awaited any more who awaits it.
    // What is read while the KV is set back does not fit together.
    const isCorrupt = error.code === "store_unreadable" && !this.#isRestored;
    // A session outlives every connection: what became of a call can be told.
    const isForgotten = error.code === "unknown" &&
      error.message.includes("its session is over") && !this.plan.isBroken &&
      this.plan.trouble.kv === 0 && !this.#isRestored;
    const isFalse = isCorrupt || isForgotten ||
      error.message.includes("not awaited any more");
    if (isFalse) this.fail(new Breach(`Somebody was told: ${error.message}`));
  };

  /** Characters of bulk that a write adds; undefined: none. */
  drawSize(): number | undefined {
    const { padSize } = this.plan;
    if (padSize === 0 || this.random.chance(0.3)) return undefined;
    return this.random.integer(0, padSize);
  }

  #taskOf(stores: readonly string[]): Task {
    const tag = this.newTag();
    const size = this.drawSize();
    return { tag, stores, ...(size !== undefined && { size }) };
  }

  /** When a call is answered, its caller's own subscriptions show what it did. */
  checkShown(
    person: Person,
    { store, tag, version }: Pick<Receipt, "store" | "tag" | "version">,
  ): void {
    const observer = person.observers.get(store);
    const effect = this.truth.of(store).effects.get(tag)
      ?.find((one) => one.version === version);
    if (!observer || !effect?.isKept) return;
    this.readYourWrites++;
    if (observer.shows(effect)) return;
    // What was to be shown may have been lost on the way, without a word.
    if (this.plan.isBroken) return;
    const { epoch, version: shown } = observer.shown!; // else it shows() anything
    throw new Breach(
      `${person.name} was told that "${tag}" is in ${store} at ${version}, and shows ${shown} of epoch ${epoch} (it was written to ${effect.epoch}, life ${effect.life})`,
    );
  }
}

/** Nobody is given the answer to another call. */
function refuseForeign(tag: string, receipts: readonly Receipt[]): void {
  for (const receipt of receipts) {
    if (receipt.tag === tag || receipt.tag.startsWith(`${tag}.`)) continue;
    throw new Breach(`The answer to "${tag}" is that to "${receipt.tag}"`);
  }
}

/** What a caller expects of the stores that it is shown. */
function guessesOf(
  { observers, own }: Person,
  stores: readonly string[],
  tag: string,
): OwnWrite[] {
  return stores.filter((store) => observers.get(store)?.handle.hasData())
    .map((store) =>
      own.begin({
        store,
        tag,
        seenBy: undefined,
        isGuess: true,
        isWhole: false,
        isHiding: false,
        isOrdered: false,
        isVisible: true,
      })
    );
}

function guessOf(tag: string): (state: Ledger) => Ledger {
  return (state) => ({
    ...state,
    writes: { ...state.writes, [tag]: (state.writes[tag] ?? 0) + 1 },
  });
}
