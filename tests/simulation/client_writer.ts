/**
 * Makes the writes of clients, and holds each answer against the truth.
 *
 * @module
 */
import type { ClientWritten } from "../../client/mod.ts";
import { HeadwaterError } from "../../protocol/errors.ts";
import { INITIAL, type Ledger, mutatorOf } from "./application.ts";
import { Breach } from "./breach.ts";
import {
  type Change,
  type ChangeKind,
  makeChange,
  MARKED,
  REFUSED,
} from "./changes.ts";
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

/** A write that is on its way. */
interface Writing {
  readonly store: string;
  readonly tag: string;
  readonly own: OwnWrite;
  /** Where it was made, if that is what the server is told. */
  readonly base: Base | undefined;
  /** Throws where it cannot be made. */
  readonly make: () => Promise<ClientWritten>;
}

/** What a client that is up to date has sent a write on. */
interface Base {
  /** How often it had lost its connection. */
  readonly losses: number;
  readonly epoch: string;
  readonly version: number;
}

/** See the module's documentation. */
export class ClientWriter {
  readonly #world: World;
  /** Writes that were made again. */
  rebases = 0;
  /** Writes that were refused because others have written. */
  conflicts = 0;

  /** For the clients of a world. */
  constructor(world: World) {
    this.#world = world;
  }

  /** Writes to one store. */
  write(person: Person, store: string, manner: WriteManner): void {
    const writing = this.#begin(person, store, manner);
    if (!writing) return;
    this.#try(person, [writing], () => {
      this.#settle(person, writing, { made: writing.make(), slack: 0 });
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
        this.#settle(person, writing, { made: made[index]!, slack }); // one for each
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
      (written) => this.#checkUndo(person, store, written?.version ?? 0),
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

  #settle(
    person: Person,
    writing: Writing,
    { made, slack }: { made: Promise<ClientWritten>; slack: number },
  ): void {
    const { fail } = this.#world;
    person.pending++;
    made.then(
      ({ version }) => this.#acknowledged(person, writing, { version, slack }),
      (error) => this.#failed(person, writing, error),
    ).catch(fail).finally(() => person.pending--);
  }

  #acknowledged(
    person: Person,
    { store, tag, own, base }: Writing,
    { version, slack }: { version: number; slack: number },
  ): void {
    const world = this.#world;
    const { truth, writes } = world;
    world.note(`${person.name} has ${tag} acknowledged at ${version}`);
    const about = { store, tag, version, slack };
    const effect = writes.acknowledgeOwn(truth, about);
    // What is sent again comes behind what was not.
    if (own.losses !== person.losses) own.isRemade = true;
    person.own.end(own, version > 0 ? effect : undefined);
    if (tag.endsWith(REFUSED)) {
      throw new Breach(`"${tag}" was to be refused, and is acknowledged`);
    }
    world.access.checkWritten(person, { store, tag, madeMs: effect.madeMs });
    if (version > 0) {
      world.checkShown(person, { store, tag, version: effect.version });
    }
    if (base && person.losses === base.losses && slack === 0) {
      this.#checkExact(store, tag, { base, version });
    }
  }

  /** Nobody has written between what a client has seen and what it wrote on top of just that. */
  #checkExact(
    store: string,
    tag: string,
    { base, version }: { base: Base; version: number },
  ): void {
    const { truth, plan: { isBroken }, isRestored } = this.#world;
    if (isBroken || isRestored) return;
    const between = truth.of(store).statesOf(base.epoch, base.version, version);
    if (between?.every((state) => state === between[0])) return;
    throw new Breach(
      `"${tag}" was written to ${store} at ${version} though it expects ${base.version}`,
    );
  }

  /** Who is told of a conflict has seen what it is about. */
  #checkConflict(
    { observers, losses }: Person,
    { store, tag, base }: Writing,
    error: HeadwaterError,
  ): void {
    const { truth, plan: { isBroken }, isRestored } = this.#world;
    const handle = observers.get(store)?.handle;
    if (isBroken || isRestored || truth.of(store).lives.length > 1) return;
    if (!base || base.losses !== losses || handle?.isStale !== false) return;
    // Of a batch it is one store that others have written to.
    if (!error.message.includes(`"${store}"`)) return;
    const { version } = error.data as { version: number }; // PROTOCOL.md, section 8
    if (handle.version! >= version) return; // it is not stale
    throw new Breach(
      `"${tag}" is in conflict with ${store} at ${version}, which its client shows at ${handle.version}`,
    );
  }

  /** Who may write is not told otherwise. */
  #checkForbidden(
    person: Person,
    store: string,
    { message }: HeadwaterError,
  ): void {
    // Of a batch it is one store that it is about.
    if (!message.includes(`"${store}"`)) return;
    const right = message.startsWith("Cannot subscribe") ? "read" : "write";
    this.#world.access.checkRefused(person, right, store);
  }

  #failed(person: Person, writing: Writing, error: unknown): void {
    const { store, tag, own } = writing;
    const world = this.#world;
    person.own.end(own);
    world.note(`${person.name} is told of ${tag}: ${error}`);
    // A store that ends by its time takes with it what is about to be written.
    const hasExpired = String(error).includes("was deleted");
    const isConflict = error instanceof HeadwaterError &&
      error.code === "conflict";
    if (isConflict) {
      this.conflicts++;
      this.#checkConflict(person, writing, error);
    }
    const isForbidden = error instanceof HeadwaterError &&
      error.code === "forbidden";
    if (isForbidden) this.#checkForbidden(person, store, error);
    if (world.isWell && !hasExpired) {
      throw new Breach(`Nothing is wrong, yet a write fails: ${error}`);
    }
    world.refuseFalseWords(error);
    world.writes.failed(tag, [store], error);
  }

  /** What is taken back, and made again, is one's own. */
  #checkUndo({ name, own }: Person, store: string, version: number): void {
    const { truth } = this.#world;
    const { lives } = truth.of(store);
    const [life] = lives;
    if (!life || lives.length > 1 || version === 0) return;
    const before = life.states[version - 1 - life.base];
    const after = life.states[version - life.base];
    if (!before || !after) return;
    const tags = own.tagsOf(store);
    const changed = [before, after].flatMap(({ writes }) => Object.keys(writes))
      .filter((tag) => before.writes[tag] !== after.writes[tag]);
    const foreign = changed.find((tag) => !tags.has(tag));
    if (foreign === undefined) return;
    throw new Breach(
      `${name} has taken back "${foreign}", which is not its own`,
    );
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
