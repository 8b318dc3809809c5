/**
 * Lets clients come, look at stores, and go.
 *
 * @module
 */
import { app } from "./application.ts";
import { Observer } from "./observer.ts";
import { OwnWrites } from "./own_writes.ts";
import type { Person } from "./person.ts";
import type { World } from "./world.ts";

/** How long a client waits for an answer. */
const RPC_MS = 20_000;

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
    const running = world.simulation.createClient({
      app,
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
      pending: 0,
      losses: 0,
    };
    running.client.on("disconnected", () => person.losses++);
    running.client.on("error", (error) => {
      world.note(`${name} fires ${error}`);
      world.refuseFalseWords(error);
      // Which of them is not known to whoever listens.
      for (const observer of person.observers.values()) observer.refused();
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
