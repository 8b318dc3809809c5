/**
 * One history in the making: the simulation, the application on its servers, the
 * people at its clients, and what is known about all of them.
 *
 * @module
 */
import type {
  Clock,
  SeededRandom,
  SimulatedServer,
  Simulation,
} from "../../adapters/testing/mod.ts";
import { HeadwaterError } from "../../protocol/errors.ts";
import type { Health } from "../../server/http/routes.ts";
import { Access, ACCESS_MS } from "./access.ts";
import { app, defineApplication, type Receipt } from "./application.ts";
import { Backups } from "./backups.ts";
import { Breach } from "./breach.ts";
import { Caller } from "./caller.ts";
import { Clients } from "./clients.ts";
import { ClientWriter } from "./client_writer.ts";
import type { Faults } from "./faults.ts";
import type { OwnWrites } from "./own_writes.ts";
import type { Person } from "./person.ts";
import type { Plan } from "./plan.ts";
import { Truth } from "./truth.ts";
import { Writes } from "./writes.ts";

/** A state without its bulk is smaller, in any history. */
const SMALL_STATE_BYTES = 10_000;

/** Up to twice that what was missed is sent, and up to twice the state, if that is more. */
const DELTA_BYTES = 64 * 1024;

/** See the module's documentation. */
export class World {
  readonly simulation: Simulation;
  readonly plan: Plan;
  readonly random: SeededRandom;
  readonly truth: Truth;
  readonly writes: Writes = new Writes();
  /** Makes what clients write themselves. */
  readonly client: ClientWriter = new ClientWriter(this);
  /** Makes calls, and what servers write themselves. */
  readonly caller: Caller = new Caller(this);
  /** What whoever is behind the clients may do. */
  readonly access: Access = new Access(this);
  /** Backs the KV up, and sets it back. */
  readonly backups: Backups = new Backups(this);
  /** Lets clients come, look, and go. */
  readonly clients: Clients = new Clients(this);
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
  readonly faults: Pick<
    Faults,
    "clockJumps" | "restarts" | "brokenWatches" | "suspensions"
  > = { clockJumps: 0, restarts: 0, brokenWatches: 0, suspensions: 0 };
  #expiries = 0;
  readonly #launched = new Set<string>();
  #failure: unknown;
  #isWell = false;
  #tags = 0;
  #names = 0;

  /** An empty world. */
  constructor(simulation: Simulation, plan: Plan) {
    this.simulation = simulation;
    this.plan = plan;
    this.random = simulation.random;
    this.truth = new Truth(simulation.kv, {
      nowMs: () => simulation.clock.elapsedMs,
      fail: (error) => this.fail(error),
    });
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
    const { simulation, truth, client, access, faults } = this;
    return {
      ...simulation.network.counts,
      ...faults,
      expiries: this.#expiries,
      compactions: truth.compactions,
      rebases: client.rebases,
      conflicts: client.conflicts,
      accessChanges: access.changes,
      refusals: access.refusals,
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
    this.access.heal();
    this.simulation.network.faults.latencyMs = this.plan.latencyMs;
  }

  /** Whether the KV was set back to a backup. */
  get isRestored(): boolean {
    return this.backups.isRestored;
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
    let clock: Clock;
    const started = this.simulation.launchServer(
      (server, own) => {
        clock = own;
        defineApplication(server, {
          clock,
          keptVersions: plan.keptVersions,
          isGuarded: plan.isGuarded,
          newId: () => String(this.newNumber()),
        });
      },
      {
        app,
        ...(plan.isGuarded && {
          authenticate: (_, credentials) =>
            this.access.authenticate(credentials, clock),
        }),
        name,
        isLocal: plan.isLocal,
        sync: plan.sync,
        heartbeatMs: 5_000,
        limits: {
          outboxBytes: plan.outboxBytes,
          commitMs: plan.commitMs,
          accessMs: ACCESS_MS,
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

  /** A number that nothing else has. */
  newNumber(): number {
    return ++this.#names;
  }

  /** A tag that no other write has. */
  newTag(): string {
    return `t${++this.#tags}`;
  }

  /** Nothing here corrupts the KV: whoever says so has read it wrongly. */
  readonly refuseFalseWords = (error: unknown): void => {
    if (!(error instanceof HeadwaterError)) return;
    // Nobody is told that a call is not awaited any more who awaits it.
    // What is read while the KV is set back does not fit together.
    const isCorrupt = error.code === "store_unreadable" && !this.isRestored;
    // A session outlives every connection: what became of a call can be told.
    const isForgotten = error.code === "unknown" &&
      error.message.includes("its session is over") && !this.plan.isBroken &&
      this.plan.trouble.kv === 0 && !this.isRestored;
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
