/**
 * Lets clients come, look at stores, and go.
 *
 * @module
 */
import { HeadwaterError } from "../../protocol/errors.ts";
import { app } from "./application.ts";
import { type Grant, Grants } from "./grants.ts";
import { Observer } from "./observer.ts";
import { OwnWrites } from "./own_writes.ts";
import type { Person } from "./person.ts";
import { tokenOf } from "./rules.ts";
import type { World } from "./world.ts";

/** How long a client waits for an answer. */
const RPC_MS = 20_000;
/** Users of which there may be several clients. */
const USERS = ["ada", "bob"];

/** See the module's documentation. */
export class Clients {
  readonly #world: World;

  /** Those of a world. */
  constructor(world: World) {
    this.#world = world;
  }

  /** Adds a client that looks at some stores. */
  enter(): Person {
    const world = this.#world;
    const { random, access, plan: { isGuarded } } = world;
    const userId = isGuarded ? random.pick(USERS) : "";
    const level = isGuarded ? access.pickLevel() : 0;
    const isAsked = isGuarded && random.chance(0.4);
    const tokens = new Grants(isAsked ? undefined : level);
    let shown: Grant | undefined;
    const token = isAsked
      ? () => {
        const { nextLevel = level } = person;
        shown = tokens.add(nextLevel);
        return tokenOf({ id: userId, level: nextLevel });
      }
      : tokenOf({ id: userId, level });
    const running = world.simulation.createClient({
      app,
      ...(isGuarded && { token }),
      rpcTimeoutMs: RPC_MS,
      reconnectDelayMs: 100,
      reconnectMaxMs: 2_000,
      reportError: world.fail,
    });
    const name = `client ${world.newNumber()}`;
    const own = new OwnWrites(name, world.truth, world.plan.isBroken);
    world.owns.push(own);
    const person: Person = {
      name,
      running,
      observers: new Map<string, Observer>(),
      own,
      userId,
      tokens,
      limits: new Grants(access.levelOf(userId)),
      nextLevel: isAsked ? level : undefined,
      pending: 0,
      losses: 0,
    };
    running.client.on("connected", () => {
      if (shown) tokens.settle(shown, world.simulation.clock.elapsedMs);
    });
    running.client.on("disconnected", () => person.losses++);
    running.client.on("error", (error) => {
      world.note(`${name} fires ${error}`);
      world.refuseFalseWords(error);
      // Which of them is not known to whoever listens.
      for (const observer of person.observers.values()) observer.refused();
      const store = storeNotFor(error);
      if (store === undefined) return;
      access.checkRefused(person, "read", store);
      person.observers.get(store)?.deleted();
      person.observers.delete(store);
      own.gone(store);
    });
    running.client.on("storeDeleted", (name) => {
      person.observers.get(name)?.deleted();
      person.observers.delete(name);
      own.gone(name);
    });
    world.people.push(person);
    return person;
  }

  /** Lets a client look at a store, if it does not. */
  look(person: Person, store: string): void {
    if (person.observers.has(store)) return;
    const world = this.#world;
    const { name: who, running: { client } } = person;
    const { truth, fail, plan: { isBroken, isLong } } = world;
    const observer = new Observer(client, {
      who,
      store,
      truth,
      own: person.own,
      losses: () => person.losses,
      neighbour: (store) => person.observers.get(store),
      isBroken,
      // Who slept past the feeds reads stores one by one.
      comesTogether: () => !isLong && !isBroken && !world.isRestored,
      isRestored: () => world.isRestored,
      checkAccess: (madeMs) => world.access.checkShown(person, store, madeMs),
      fail,
    });
    person.observers.set(store, observer);
  }

  /** A client crashes, and another one comes that looks at `stores`. */
  replace(person: Person, stores: readonly string[]): void {
    this.#world.note(`${person.name} crashes`);
    person.running.crash();
    this.leave(person);
    const next = this.enter();
    for (const store of stores) this.look(next, store);
  }

  /** Takes a client out. */
  leave(person: Person): void {
    const world = this.#world;
    world.people.splice(world.people.indexOf(person), 1);
    for (const { count } of person.observers.values()) world.shown += count;
  }
}

/** The store that a client was told it may not read. */
function storeNotFor(error: unknown): string | undefined {
  if (!(error instanceof HeadwaterError) || error.code !== "forbidden") return;
  return /^Cannot subscribe to store "(.*)": /.exec(error.message)?.[1];
}
