/**
 * Makes the writes of clients.
 *
 * @module
 */
import type { ClientWritten } from "../../client/mod.ts";
import { HeadwaterError } from "../../protocol/errors.ts";
import { INITIAL, type Ledger, mutatorOf } from "./application.ts";
import {
  type Change,
  type ChangeKind,
  makeChange,
  MARKED,
  REFUSED,
} from "./changes.ts";
import { type Base, ClientAnswers, type Writing } from "./client_answers.ts";
import type { Observer } from "./observer.ts";
import type { OwnWrite } from "./own_writes.ts";
import type { Person } from "./person.ts";
import type { World } from "./world.ts";

/** How something is written. */
export type WriteKind =
  | ChangeKind
  /** The whole state. */
  | "set"
  /** Some of its properties. */
  | "merge";

/** How a client writes. */
export interface WriteManner {
  readonly kind: WriteKind;
  /** Whether the server runs a mutator, and the client does, too. */
  readonly isNamed?: boolean;
  /** Whether it fails if others have written meanwhile. */
  readonly isExact?: boolean;
  /** Whether its store is to add something, in any case. */
  readonly isMarked?: boolean;
}

/** See the module's documentation. */
export class ClientWriter {
  readonly #world: World;
  readonly #answers: ClientAnswers;
  /** Writes that were made again. */
  rebases = 0;

  /** For the clients of a world. */
  constructor(world: World) {
    this.#world = world;
    this.#answers = new ClientAnswers(world);
  }

  /** Writes that were refused because others have written. */
  get conflicts(): number {
    return this.#answers.conflicts;
  }

  /** Writes to one store. */
  write(person: Person, store: string, manner: WriteManner): void {
    const writing = this.#begin(person, store, manner);
    if (!writing) return;
    this.#try(person, [writing], () => {
      this.#answers.settle(person, writing, { made: writing.make(), slack: 0 });
    });
  }

  /** Writes several times, to one store or two, all or nothing. */
  batch(
    person: Person,
    writes: readonly { readonly store: string; readonly manner: WriteManner }[],
  ): void {
    const { truth } = this.#world;
    const isExact = writes.some(({ manner }) => manner.isExact);
    const writings = writes.flatMap(({ store, manner }) =>
      this.#begin(person, store, { ...manner, isExact }) ?? []
    );
    if (writings.length === 0) return;
    truth.expectTogether(writings);
    const batch = writings.map(({ own }) => own);
    const mayFail = batch.some((own) => own.mayFail);
    for (const own of batch) Object.assign(own, { mayFail, batch });
    this.#world.note(`${person.name} writes ${writings.length} together`);
    this.#try(person, writings, () => {
      const made: Promise<ClientWritten>[] = [];
      const policy = isExact ? "expectVersion" : "rebase";
      const run = () => {
        for (const { make } of writings) {
          const writing = make();
          // The batch tells it, too.
          writing.catch(() => {});
          made.push(writing);
        }
      };
      person.running.client.batch(run, { policy }).catch(() => {});
      const slack = writings.length - 1;
      for (const [index, writing] of writings.entries()) {
        this.#answers.settle(person, writing, { made: made[index]!, slack }); // one for each
      }
    });
  }

  /** Takes the last change back, or makes it again. */
  undo(person: Person, store: string, what: "undo" | "redo"): void {
    const { fail, refuseFalseWords, note } = this.#world;
    const handle = person.observers.get(store)?.handle;
    // Whole states would bring back what others wrote once.
    if (!handle || person.own.hasWhole(store)) return;
    if (what === "undo" ? !handle.canUndo : !handle.canRedo) return;
    note(`${person.name} makes an ${what} in ${store}`);
    person.own.undone(store);
    const own = this.#beginOwn(person, store, { tag: what, isVisible: false });
    person.pending++;
    const end = () => {
      person.own.end(own);
      person.pending--;
    };
    let made: Promise<ClientWritten | undefined>;
    try {
      made = handle[what]();
    } catch (error) {
      end();
      if (!(error instanceof HeadwaterError)) fail(error);
      return;
    }
    made.finally(end).then(
      (written) =>
        this.#answers.checkUndo(person, store, written?.version ?? 0),
      refuseFalseWords,
    ).catch(fail);
  }

  #begin(
    person: Person,
    store: string,
    { kind, isNamed = false, isExact = false, isMarked = false }: WriteManner,
  ): Writing | undefined {
    const world = this.#world;
    const observer = person.observers.get(store);
    const hasData = observer?.handle.hasData() === true;
    if (!hasData && !isNamed) return undefined;
    const isPlain = kind === "set" || kind === "merge";
    const tag = isMarked ? `${world.newTag()}${MARKED}` : this.#tagOf(kind);
    const policy = isExact ? "expectVersion" : "rebase";
    world.note(
      `${person.name} writes ${tag} to ${store}: ${kind}, ${policy}${
        isNamed ? ", by a mutator" : ""
      }`,
    );
    world.writes.ask(tag, [store]);
    const base = isExact && observer ? baseOf(person, observer) : undefined;
    const own = this.#beginOwn(person, store, {
      tag,
      isVisible: hasData && kind !== "merge",
      isWhole: isPlain,
      losses: person.losses,
      isHiding: kind === "set",
      isOrdered: !isNamed || isPlain,
      seenBy: hasData ? observer : undefined,
      mayFail: isExact,
    });
    const about = { store, tag, own, base };
    const { client } = person.running;
    const handle = observer?.handle;
    if (isPlain) {
      if (!handle) return undefined; // it has data
      const state = { ...INITIAL, writes: { [tag]: 1 }, n: 1 };
      const make = kind === "set"
        ? () => handle.set(state, { policy })
        : () => handle.merge({ note: tag }, { policy });
      return { ...about, make };
    }
    const change = this.#changeOf(kind, tag, handle?.getState());
    // What a proxy repeats may have a client count a write twice, and mean something else.
    if (!world.plan.isBroken) world.truth.expect(tag, change);
    if (isNamed || !handle) {
      const isOneOfAKind = store.includes(":");
      const options = { policy, ...(isOneOfAKind && { store }) } as const;
      const make = () => client.mutate(mutatorOf(store), change, options);
      return { ...about, make };
    }
    let runs = 0;
    const recipe = (draft: Ledger) => {
      if (++runs > 1) {
        this.rebases++;
        own.isRemade = true;
      }
      makeChange(draft, change);
    };
    return { ...about, make: () => handle.update(recipe, { policy }) };
  }

  #beginOwn(
    person: Person,
    store: string,
    {
      tag,
      isVisible,
      isWhole = false,
      losses = 0,
      isHiding = false,
      isOrdered = false,
      mayFail = false,
      seenBy,
    }: {
      tag: string;
      isVisible: boolean;
      isWhole?: boolean;
      losses?: number;
      isHiding?: boolean;
      isOrdered?: boolean;
      mayFail?: boolean;
      seenBy?: Observer | undefined;
    },
  ): OwnWrite {
    return person.own.begin({
      store,
      tag,
      seenBy,
      isGuess: false,
      isWhole,
      losses,
      isHiding,
      isOrdered,
      isVisible,
      mayFail,
    });
  }

  #changeOf(kind: ChangeKind, tag: string, state: Ledger | undefined): Change {
    const { random } = this.#world;
    const ids = state?.items.map(({ id }) => id) ?? [];
    const pick = () => ids.length > 0 ? random.pick(ids) : "none";
    const size = kind === "own" ? undefined : this.#world.drawSize();
    return {
      kind,
      tag,
      at: random.integer(0, ids.length),
      target: pick(),
      other: pick(),
      // Whoever writes it touches all others who do.
      ...(size !== undefined && kind === "add" && { size }),
    };
  }

  #tagOf(kind: WriteKind): string {
    const { random, isWell } = this.#world;
    const tag = this.#world.newTag();
    if (isWell || kind === "set" || kind === "merge") return tag;
    if (random.chance(0.06)) return `${tag}${REFUSED}`;
    return random.chance(0.06) ? `${tag}${MARKED}` : tag;
  }

  /** Makes writes; what cannot be made is not written. */
  #try(
    person: Person,
    writings: readonly Writing[],
    run: () => void,
  ): void {
    const { writes, fail } = this.#world;
    try {
      run();
    } catch (error) {
      if (!(error instanceof HeadwaterError)) fail(error);
      for (const { own, store, tag } of writings) {
        person.own.end(own);
        writes.failed(tag, [store], error);
      }
    }
  }
}

/** Where a write is made, if it is sent at once and the server is told just that. */
function baseOf(
  { running: { client }, losses }: Person,
  { handle, shown }: Observer,
): Base | undefined {
  const isNow = client.status === "connected" && client.unackedCount === 0 &&
    !handle.isStale;
  if (!shown || !isNow) return undefined;
  return { losses, epoch: shown.epoch, version: shown.version };
}
