/**
 * Who is behind the clients, what they may do, and whether they are shown, and
 * write, only that.
 *
 * @module
 */
import type {
  Clock,
  Credentials,
  SimulatedServer,
} from "../../adapters/testing/mod.ts";
import { HeadwaterError } from "../../protocol/errors.ts";
import { Breach } from "./breach.ts";
import type { Grant } from "./grants.ts";
import type { Person } from "./person.ts";
import {
  levelFor,
  LEVELS,
  type Right,
  tokenOf,
  TOP_LEVEL,
  type User,
  userOf,
} from "./rules.ts";
import type { World } from "./world.ts";

/** How long servers serve without knowing whose access was revoked. */
export const ACCESS_MS = 6_000;
/** How long it takes to ask who somebody is, and a little more. */
const ASK_MS = 3_000;
/** What is promised where nothing goes wrong. */
const PROMISED_MS = 5_000;
/** How late what was let in may be written. */
const WRITE_LATE_MS = 40_000;
/** How often a revocation that was not heard of is made again. */
const AGAIN_MS = 2_000;

/** One revocation, until all servers must have heard of it. */
interface Revocation {
  readonly userId: string;
  /** Only one of the user's clients. */
  readonly only: Person | undefined;
  /** What it has given to whom. */
  readonly grants: ReadonlyMap<Person, Grant>;
  triedMs: number;
}

/** See the module's documentation. */
export class Access {
  readonly #world: World;
  /** What users may do at most, whatever their tokens say. */
  readonly #directory = new Map<string, number>();
  readonly #open = new Set<Revocation>();
  /** When all servers have heeded the others. */
  #heededMs = -Infinity;
  /** How long it takes to look somebody up, and how often that fails. */
  faults: { lateMs: number; fails: number } = { lateMs: 0, fails: 0 };
  /** Levels that were changed. */
  changes = 0;
  /** Refusals to let somebody read or write. */
  refusals = 0;

  /** Of the people of a world. */
  constructor(world: World) {
    this.#world = world;
  }

  /** What a user may do at most. */
  levelOf(userId: string): number {
    return this.#directory.get(userId) ?? TOP_LEVEL;
  }

  /** Another level for somebody who is to be given one. */
  pickLevel(): number {
    return this.#world.random.pick([...LEVELS, TOP_LEVEL]);
  }

  /** Finds out who is behind a client, as an application does. */
  async authenticate(credentials: Credentials, clock: Clock): Promise<User> {
    const { random } = this.#world;
    const { lateMs, fails } = this.faults;
    const { id, level } = userOf(credentials);
    const user = { id, level: Math.min(level, this.levelOf(id)) };
    if (lateMs > 0) {
      const ms = random.integer(0, lateMs);
      await new Promise<void>((resolve) => clock.setTimer(ms, resolve));
    }
    if (fails > 0 && random.chance(fails)) {
      throw new HeadwaterError("unavailable", "Nobody knows at the moment");
    }
    return user;
  }

  /** Somebody shows another token, on the connection that there is, or the next one. */
  setToken({ name, userId, tokens, running }: Person, level: number): void {
    const { note, simulation } = this.#world;
    this.changes++;
    note(`${name} shows a token of level ${level}`);
    const grant = tokens.add(level);
    running.client.setToken(tokenOf({ id: userId, level })).then(() => {
      note(`${name} has shown the token of level ${level}`);
      tokens.settle(grant, simulation.clock.elapsedMs);
    }, () => {});
  }

  /** A user may do more from now on, or less; those connected are asked again. */
  revoke(
    on: SimulatedServer,
    { userId, level, only }: {
      userId: string;
      level: number;
      /** Only this one is asked again. */
      only?: Person | undefined;
    },
  ): void {
    this.changes++;
    this.#directory.set(userId, level);
    const theirs = this.#world.people.filter((one) => one.userId === userId);
    const grants = new Map(theirs.map((one) => [one, one.limits.add(level)]));
    const revocation = { userId, only, grants, triedMs: 0 };
    this.#open.add(revocation);
    this.#try(on, revocation);
  }

  /** Whether servers may not have heeded a revocation yet. */
  get isUnsettled(): boolean {
    const { elapsedMs } = this.#world.simulation.clock;
    return this.#open.size > 0 || elapsedMs <= this.#heededMs;
  }

  /** Makes revocations again whose servers have ended, or could not. */
  retry(): void {
    const { simulation: { clock, servers }, random } = this.#world;
    if (servers.length === 0) return;
    for (const revocation of this.#open) {
      if (clock.elapsedMs - revocation.triedMs < AGAIN_MS) continue;
      this.#try(random.pick(servers), revocation);
    }
  }

  /** Ends what goes wrong with finding out. */
  heal(): void {
    this.faults = { lateMs: 0, fails: 0 };
  }

  /** Whether somebody surely may do that. */
  may(person: Person, right: Right, store: string): boolean {
    if (!this.#world.plan.isGuarded) return true;
    const level = levelFor(right, store);
    const { elapsedMs } = this.#world.simulation.clock;
    // What is shown on the next connection may come at any time.
    const { nextLevel = level } = person;
    return nextLevel >= level && person.tokens.isAtLeast(level, elapsedMs) &&
      person.limits.isAtLeast(level, elapsedMs);
  }

  /** Until when somebody may have been able to do that; Infinity: they may be still. */
  lastMs({ tokens, limits }: Person, right: Right, store: string): number {
    if (!this.#world.plan.isGuarded) return Infinity;
    const level = levelFor(right, store);
    return Math.min(tokens.lastMs(level), limits.lastMs(level));
  }

  /** Somebody is shown what was written at that time. */
  checkShown(person: Person, store: string, madeMs: number): void {
    const lastMs = this.lastMs(person, "read", store);
    if (madeMs <= lastMs) return;
    throw new Breach(
      `${person.name} is shown what was written to ${store} at ${madeMs}, and may not read it since ${lastMs}`,
    );
  }

  /** Somebody has written what took effect at that time. */
  checkWritten(
    person: Person,
    { store, tag, madeMs }: { store: string; tag: string; madeMs: number },
  ): void {
    const { plan, faults } = this.#world;
    const lastMs = this.lastMs(person, "write", store);
    // A server that sleeps writes what it was asked before.
    const mayBeLate = plan.isLong || faults.suspensions > 0;
    if (madeMs <= lastMs + (mayBeLate ? Infinity : WRITE_LATE_MS)) return;
    throw new Breach(
      `${person.name} has written "${tag}" to ${store} at ${madeMs}, and may not since ${lastMs}`,
    );
  }

  /** Somebody was told that they may not. */
  checkRefused(
    { name, tokens, limits }: Person,
    right: Right,
    store: string,
  ): void {
    this.refusals++;
    const level = levelFor(right, store);
    if (tokens.wasBelow(level) || limits.wasBelow(level)) return;
    throw new Breach(`${name} may not ${right} ${store}, it was told`);
  }

  #try(on: SimulatedServer, revocation: Revocation): void {
    const { note, simulation: { clock } } = this.#world;
    const { userId, only, grants } = revocation;
    revocation.triedMs = clock.elapsedMs;
    const clientId = only?.running.client.clientId;
    note(`${on.name} revokes the access of ${clientId ?? userId}`);
    on.server.revoke(clientId === undefined ? { userId } : { clientId }).then(
      () => {
        if (!this.#open.delete(revocation)) return;
        note(`the access of ${clientId ?? userId} is revoked`);
        const untilMs = clock.elapsedMs + this.#boundMs;
        this.#heededMs = untilMs;
        for (const [person, grant] of grants) {
          if (clientId !== undefined && person !== only) continue;
          person.limits.settle(grant, untilMs);
        }
      },
      (error) => note(`${on.name} cannot revoke it: ${error}`),
    );
  }

  /** How long it may take until all servers have heeded a revocation. */
  get #boundMs(): number {
    const { isLong, trouble: { kv, processes } } = this.#world.plan;
    const isCalm = kv === 0 && processes === 0 && !isLong;
    return isCalm ? PROMISED_MS : ACCESS_MS + ASK_MS;
  }
}
