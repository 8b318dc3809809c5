/**
 * Who is here: the connections that have said hello, found by client, by user
 * and by the stores that they are subscribed to, however many others there are.
 *
 * @module
 */
import type { EventAudience } from "./log/event_record.ts";
import type { Outbox } from "./outbox.ts";

/** What a roster knows of a connection. */
export interface Member {
  readonly outbox: Outbox;
  /** Present from its hello on. */
  readonly clientId: string | undefined;
  /** Present where its user has an id. */
  readonly userId: string | undefined;
  /** Whether it is subscribed to the store of that name. */
  follows(store: string): boolean;
}

/** See the module's documentation. */
export class Roster {
  readonly #all = new Set<Member>();
  readonly #byClient = new Index();
  readonly #byUser = new Index();
  readonly #byStore = new Index();

  /** Adds one, under what it is now. */
  add(member: Member): void {
    this.#all.add(member);
    this.#byClient.add(member.clientId, member);
    this.#byUser.add(member.userId, member);
  }

  /** Takes one out, which was added under these. */
  delete(
    member: Member,
    { clientId, userId }: Pick<Member, "clientId" | "userId"> = member,
  ): void {
    this.#all.delete(member);
    this.#byClient.delete(clientId, member);
    this.#byUser.delete(userId, member);
  }

  /** It is subscribed to a store from here on. */
  follow(member: Member, store: string): void {
    this.#byStore.add(store, member);
  }

  /** Undoes {@linkcode Roster.follow}. */
  unfollow(member: Member, store: string): void {
    this.#byStore.delete(store, member);
  }

  /** Whether the client is connected here. */
  hasClient(clientId: string): boolean {
    return this.#byClient.find(clientId).size > 0;
  }

  /** Everybody that an event is for. */
  *find({ clientId, userId, store, except }: EventAudience): Iterable<Member> {
    const candidates = clientId !== undefined
      ? this.#byClient.find(clientId)
      : userId !== undefined
      ? this.#byUser.find(userId)
      : store !== undefined
      ? this.#byStore.find(store)
      : this.#all;
    const excluded = except && new Set(except);
    for (const member of candidates) {
      if (userId !== undefined && member.userId !== userId) continue;
      if (store !== undefined && !member.follows(store)) continue;
      if (member.clientId !== undefined && excluded?.has(member.clientId)) {
        continue;
      }
      yield member;
    }
  }
}

const NOBODY: ReadonlySet<Member> = new Set();

class Index {
  readonly #members = new Map<string, Set<Member>>();

  find(key: string): ReadonlySet<Member> {
    return this.#members.get(key) ?? NOBODY;
  }

  add(key: string | undefined, member: Member): void {
    if (key === undefined) return;
    const members = this.#members.get(key);
    if (members) members.add(member);
    else this.#members.set(key, new Set([member]));
  }

  delete(key: string | undefined, member: Member): void {
    if (key === undefined) return;
    const members = this.#members.get(key);
    if (members?.delete(member) && members.size === 0) {
      this.#members.delete(key);
    }
  }
}
