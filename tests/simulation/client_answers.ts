/**
 * Holds what clients are told of their writes against the truth.
 *
 * @module
 */
import type { ClientWritten } from "../../client/mod.ts";
import { HeadwaterError } from "../../protocol/errors.ts";
import { Breach } from "./breach.ts";
import { REFUSED } from "./changes.ts";
import type { OwnWrite } from "./own_writes.ts";
import type { Person } from "./person.ts";
import type { World } from "./world.ts";

/** A write that is on its way. */
export interface Writing {
  readonly store: string;
  readonly tag: string;
  readonly own: OwnWrite;
  /** Where it was made, if that is what the server is told. */
  readonly base: Base | undefined;
  /** Throws where it cannot be made. */
  readonly make: () => Promise<ClientWritten>;
}

/** What a client that is up to date has sent a write on. */
export interface Base {
  /** How often it had lost its connection. */
  readonly losses: number;
  readonly epoch: string;
  readonly version: number;
}

/** See the module's documentation. */
export class ClientAnswers {
  readonly #world: World;
  /** Writes that were refused because others have written. */
  conflicts = 0;

  /** For the clients of a world. */
  constructor(world: World) {
    this.#world = world;
  }

  /** Waits for what is told of a write; of a batch it may be up to `slack` versions off. */
  settle(
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

  /** What is taken back, and made again, is one's own. */
  checkUndo(
    { name, own, running }: Person,
    store: string,
    version: number,
  ): void {
    const { truth } = this.#world;
    const { lives } = truth.of(store);
    const [life] = lives;
    if (!life || lives.length > 1 || version === 0) return;
    const before = life.states[version - 1 - life.base];
    const after = life.states[version - life.base];
    if (!before || !after) return;
    // What changes nothing is told the version that there is, whoever has made that.
    const author = life.authors[version - life.base];
    if (author !== running.client.clientId) return;
    const tags = own.tagsOf(store);
    const changed = [before, after].flatMap(({ writes }) => Object.keys(writes))
      .filter((tag) => before.writes[tag] !== after.writes[tag]);
    const foreign = changed.find((tag) => !tags.has(tag));
    if (foreign === undefined) return;
    throw new Breach(
      `${name} has taken back "${foreign}", which is not its own`,
    );
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
}
