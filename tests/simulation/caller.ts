/**
 * Calls functions, and writes on servers outside of any call; holds each answer
 * against the truth.
 *
 * @module
 */
import type { SimulatedServer } from "../../adapters/testing/mod.ts";
import {
  add,
  type Ledger,
  type Receipt,
  storeOn,
  type Task,
} from "./application.ts";
import { Breach } from "./breach.ts";
import type { OwnWrite } from "./own_writes.ts";
import type { Person } from "./person.ts";
import type { World } from "./world.ts";

/** See the module's documentation. */
export class Caller {
  readonly #world: World;
  readonly #updates = new WeakMap<SimulatedServer, number>();

  /** For the clients and servers of a world. */
  constructor(world: World) {
    this.#world = world;
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
    const world = this.#world;
    const { truth, writes } = world;
    const task = this.#taskOf(stores);
    world.note(`${person.name} calls ${name} ${task.tag} on ${stores}`);
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
          world.note(`${person.name} has the answer to ${task.tag}`);
          refuseForeign(task.tag, receipts);
          writes.acknowledge(truth, receipts);
          for (const receipt of receipts) world.checkShown(person, receipt);
        },
        (error) => {
          world.note(`${person.name} is told of ${task.tag}: ${error}`);
          // A store that ends by its time takes with it what is about to be written.
          const hasExpired = String(error).includes("was deleted");
          if (world.isWell && !hasExpired) {
            world.fail(
              new Breach(`Nothing is wrong, yet a call fails: ${error}`),
            );
          }
          world.refuseFalseWords(error);
          // Which of several stores an error is about is not known.
          const isOne = stores.length === 1 || name === "transact";
          const known = isOne ? stores : [];
          writes.failed(task.tag, known, error);
        },
      ).catch(world.fail).finally(() => person.pending--);
  }

  /** Writes on a server, outside of any call; as much as the plan allows, where it is to be big. */
  update(on: SimulatedServer, store: string, isBig = false): void {
    const world = this.#world;
    const { truth, writes, plan: { padSize } } = world;
    const { name, server } = on;
    const task = {
      ...this.#taskOf([store]),
      ...(isBig && { size: padSize }),
    };
    world.note(`${name} updates ${store} with ${task.tag}`);
    writes.ask(task.tag, [store]);
    this.#updates.set(on, this.updatesOf(on) + 1);
    add(storeOn(server, store), task).then(
      (receipt) => writes.acknowledge(truth, [receipt]),
      (error) => {
        world.refuseFalseWords(error);
        writes.failed(task.tag, [store], error);
      },
    ).catch(world.fail).finally(() =>
      this.#updates.set(on, this.updatesOf(on) - 1)
    );
  }

  /** Reads on a server, outside of any call. */
  read({ server }: SimulatedServer, store: string): void {
    const { refuseFalseWords } = this.#world;
    server.store(store)?.get().catch(refuseFalseWords);
  }

  /** Writes on that server, outside of any call, of which nothing was heard yet. */
  updatesOf(server: SimulatedServer): number {
    return this.#updates.get(server) ?? 0;
  }

  #taskOf(stores: readonly string[]): Task {
    const tag = this.#world.newTag();
    const size = this.#world.drawSize();
    return { tag, stores, ...(size !== undefined && { size }) };
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
        losses: 0,
        isHiding: false,
        isOrdered: false,
        isVisible: true,
        mayFail: false,
      })
    );
}

function guessOf(tag: string): (state: Ledger) => Ledger {
  return (state) => ({
    ...state,
    writes: { ...state.writes, [tag]: (state.writes[tag] ?? 0) + 1 },
  });
}
