/**
 * Sessions: what a resent call is recognised by. They are issued by the server
 * and signed, so that any server over the same KV knows its own without a record
 * for each; a name that a client chooses itself would be information only.
 *
 * @module
 */
import { newId } from "./log/ids.ts";
import { secretKey } from "./log/keys.ts";
import type { Clock, Kv, Random, Timer } from "./ports.ts";
import { Session } from "./session.ts";
import {
  deriveToken,
  ownerIn,
  ownerOf,
  signToken,
  verifyToken,
} from "./session_token.ts";

/** Answers of a session are kept so long after its connection ended. */
const KEPT_MS = 2 * 60 * 1000;
/**
 * Sessions whose connection ended keep answers up to this size together, those
 * that ended last: clients that come and go would otherwise fill the memory.
 */
const KEPT_TOTAL_BYTES = 32 * 1024 * 1024;
/** What a session costs beside its answers. */
const SESSION_OVERHEAD_BYTES = 2 * 1024;

/** A session that a connection has begun with. */
export interface Begun {
  readonly session: Session;
  /** Whether it is the one that the client had. */
  readonly resumed: boolean;
  /** Whether the client has proven that it was here before, over the same KV. */
  readonly isKnown: boolean;
}

/** Issues, recognises and remembers sessions. */
export class Sessions {
  readonly #kv: Kv;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #sessionMs: number;
  readonly #live = new Map<
    string,
    { session: Session; connections: number; forget?: Timer }
  >();
  /** What sessions without a connection cost, in the order in which theirs ended. */
  readonly #parked = new Map<string, number>();
  #parkedBytes = 0;
  #secret: Uint8Array | undefined;

  /** Sessions that are good for `sessionMs`. */
  constructor(
    { kv, clock, random, sessionMs }: {
      kv: Kv;
      clock: Clock;
      random: Random;
      sessionMs: number;
    },
  ) {
    this.#kv = kv;
    this.#clock = clock;
    this.#random = random;
    this.#sessionMs = sessionMs;
  }

  /** Sessions in memory. */
  get size(): number {
    return this.#live.size;
  }

  /**
   * The session of a connection: the one that `resume` proves, or a fresh one,
   * for the client that `identity` proves. Neither proves anything where it was
   * issued to another `principal`.
   */
  async begin(
    { resume, identity, principal }: {
      resume?: string | undefined;
      identity?: string | undefined;
      /** Whom the session belongs to, where that is known. */
      principal?: string | undefined;
    },
  ): Promise<Begun> {
    const secret = await this.#getSecret();
    const owner = principal === undefined ? "" : ownerOf(principal, secret);
    const key = { secret, owner };
    const known = resume === undefined ? undefined : verifyToken(resume, key);
    if (resume !== undefined && known && !this.isExpired(known)) {
      const session = new Session({ ...known, token: resume });
      return { session: this.#hold(session), resumed: true, isKnown: true };
    }
    const before = known ??
      (identity === undefined ? undefined : verifyToken(identity, key));
    const fields = {
      id: newId(this.#random),
      clientId: before?.clientId ?? newId(this.#random),
      issuedAtMs: Math.floor(this.#clock.now()),
    };
    const token = signToken(fields, key);
    return {
      session: this.#hold(new Session({ ...fields, token })),
      resumed: false,
      isKnown: before !== undefined,
    };
  }

  /** The client that a token was issued to, whomever that belonged to. */
  async clientOf(token: string): Promise<string | undefined> {
    const secret = await this.#getSecret();
    return verifyToken(token, { secret, owner: ownerIn(token) })?.clientId;
  }

  /** Whether the session is past its time: what it wrote may be forgotten. */
  isExpired({ issuedAtMs }: { issuedAtMs: number }): boolean {
    return this.#clock.now() - issuedAtMs >= this.#sessionMs;
  }

  /** A connection of the session has ended. */
  release(session: Session): void {
    const live = this.#live.get(session.id);
    if (!live || --live.connections > 0) return;
    if (session.isEmpty) {
      this.#live.delete(session.id);
      return;
    }
    const { id } = session;
    live.forget = this.#clock.setTimer(KEPT_MS, () => this.#forget(id));
    const bytes = session.keptBytes + SESSION_OVERHEAD_BYTES;
    this.#parked.set(id, bytes);
    this.#parkedBytes += bytes;
    this.#makeRoom();
  }

  /** An id that is the same whenever the call is run again, and that no client can guess. */
  deriveId(session: Session, call: number, n: number): string {
    // A session exists, so the secret has been read.
    return deriveToken(this.#secret!, `id.${session.id}.${call}.${n}`);
  }

  /** Forgets everything. */
  close(): void {
    for (const { forget } of this.#live.values()) forget?.cancel();
    this.#live.clear();
    this.#parked.clear();
    this.#parkedBytes = 0;
  }

  /** Forgets what ended first: its calls run again if they are resent, and write once. */
  #makeRoom(): void {
    for (const id of this.#parked.keys()) {
      if (this.#parkedBytes <= KEPT_TOTAL_BYTES) return;
      // A call that still runs stays: it would run twice at once.
      if (!this.#live.get(id)?.session.isRunning) this.#forget(id);
    }
  }

  #forget(id: string): void {
    this.#unpark(id);
    this.#live.get(id)?.forget?.cancel();
    this.#live.delete(id);
  }

  #unpark(id: string): void {
    this.#parkedBytes -= this.#parked.get(id) ?? 0;
    this.#parked.delete(id);
  }

  #hold(session: Session): Session {
    const live = this.#live.get(session.id);
    if (!live) {
      this.#live.set(session.id, { session, connections: 1 });
      return session;
    }
    live.forget?.cancel();
    this.#unpark(session.id);
    live.connections++;
    return live.session;
  }

  async #getSecret(): Promise<Uint8Array> {
    const key = secretKey();
    while (!this.#secret) {
      const { value } = await this.#kv.get(key);
      if (value instanceof Uint8Array) {
        this.#secret = value;
        break;
      }
      const secret = this.#random.bytes(32);
      // Another server may make it at the same time: the first one's is read again.
      const made = this.#kv.atomic().check({ key, versionstamp: null })
        .set(key, secret).commit();
      await made.catch(async (error) => {
        if ((await this.#kv.get(key)).versionstamp === null) throw error;
      });
    }
    return this.#secret;
  }
}
