/**
 * Sessions: what a resent call is recognised by. They are issued by the server
 * and signed, so that any server over the same KV knows its own without a record
 * for each; a name that a client chooses itself would be information only.
 *
 * @module
 */
import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { newId, toText } from "./log/ids.ts";
import type { WrittenTo } from "./log/answers.ts";
import { secretKey } from "./log/keys.ts";
import type { Clock, Kv, Random, Timer } from "./ports.ts";

/** A call's answer, as it was or will be sent. */
export interface Answer {
  readonly frame: Uint8Array<ArrayBuffer>;
  /** What the caller's subscriptions must show when it gets the answer. */
  readonly written: readonly WrittenTo[];
  /**
   * The frame for a call that was sent again, where this run knows of itself alone
   * that it has written nothing: another server's run may have.
   */
  readonly doubtful?: Uint8Array<ArrayBuffer>;
  /** The number is not used up: what comes with it next is something else. */
  readonly isFree?: boolean;
  /** A refusal that another server would not know of: who asks again is not told it. */
  readonly isUnrecorded?: boolean;
  /** It was stopped before it had an answer. */
  readonly isAborted?: boolean;
}

/** An answer above this size is not kept: the call runs again, and its writes give the first values. */
const KEPT_ANSWER_BYTES = 64 * 1024;
/** Answers of a session are kept so long after its connection ended. */
const KEPT_MS = 2 * 60 * 1000;
/**
 * Answers of one session are kept up to this size together, the newest of them: a
 * client that never gives one up would otherwise fill the memory.
 */
const KEPT_SESSION_BYTES = 512 * 1024;
/**
 * Sessions whose connection ended keep answers up to this size together, those
 * that ended last: clients that come and go would otherwise fill the memory.
 */
const KEPT_TOTAL_BYTES = 32 * 1024 * 1024;
/** What a session costs beside its answers. */
const SESSION_OVERHEAD_BYTES = 2 * 1024;
/** What a kept answer costs beside its frame; small frames share buffers. */
const KEPT_OVERHEAD_BYTES = 512;

/** Parts of a token that belongs to a principal, and which of them says so. */
const OWNED_PARTS = 5;
const OWNER_PART = 3;

/** One session, as this server knows it. */
export class Session {
  readonly id: string;
  readonly clientId: string;
  readonly issuedAtMs: number;
  /** The proof that the client keeps. */
  readonly token: string;
  readonly #answers = new Map<number, Answer | Promise<Answer>>();
  #keptBytes = 0;
  #oldest = 1;

  /** Made by {@linkcode Sessions}. */
  constructor(
    fields: { id: string; clientId: string; issuedAtMs: number; token: string },
  ) {
    this.id = fields.id;
    this.clientId = fields.clientId;
    this.issuedAtMs = fields.issuedAtMs;
    this.token = fields.token;
  }

  /** Whether nothing is remembered for it. */
  get isEmpty(): boolean {
    return this.#answers.size === 0;
  }

  /** Whether a call of it is still being answered. */
  get isRunning(): boolean {
    for (const known of this.#answers.values()) {
      if (known instanceof Promise) return true;
    }
    return false;
  }

  /** What the kept answers cost. */
  get keptBytes(): number {
    return this.#keptBytes;
  }

  /** Lowest call that the client still awaits. */
  get oldest(): number {
    return this.#oldest;
  }

  /**
   * Lowest call whose numbers stores must keep: one that the client has given up
   * still writes as long as its handler runs.
   */
  get oldestRunning(): number {
    let oldest = this.#oldest;
    for (const [call, known] of this.#answers) {
      if (call < oldest && known instanceof Promise) oldest = call;
    }
    return oldest;
  }

  /** The answer of a call that runs or ran here, or that of running it now. */
  answer(
    call: number,
    oldest: number,
    run: () => Promise<Answer>,
  ): Promise<Answer> {
    this.#forgetBelow(oldest);
    const known = this.#answers.get(call);
    if (known) return Promise.resolve(known);
    const running = run();
    this.#answers.set(call, running);
    running.then((answer) => {
      const isTooBig = answer.frame.byteLength > KEPT_ANSWER_BYTES;
      if (call < this.#oldest || isTooBig || answer.isFree) {
        this.#answers.delete(call);
      } else {
        this.#keep(call, answer);
      }
    }, () => this.#answers.delete(call));
    return running;
  }

  #keep(call: number, answer: Answer): void {
    this.#answers.set(call, answer);
    this.#keptBytes += costOf(answer);
    for (const [other, known] of this.#answers) {
      if (this.#keptBytes <= KEPT_SESSION_BYTES) break;
      // A call that still runs stays: it would run twice at once.
      if (!(known instanceof Promise)) this.#forget(other);
    }
  }

  #forget(call: number): void {
    const known = this.#answers.get(call);
    if (known && !(known instanceof Promise)) this.#keptBytes -= costOf(known);
    this.#answers.delete(call);
  }

  #forgetBelow(oldest: number): void {
    if (oldest <= this.#oldest) return;
    this.#oldest = oldest;
    for (const [call, known] of this.#answers) {
      if (call < oldest && !(known instanceof Promise)) this.#forget(call);
    }
  }
}

function costOf({ frame }: Answer): number {
  return frame.byteLength + KEPT_OVERHEAD_BYTES;
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
  ): Promise<{ session: Session; resumed: boolean }> {
    const secret = await this.#getSecret();
    const owner = principal === undefined ? "" : ownerOf(principal, secret);
    const known = resume === undefined
      ? undefined
      : this.#verify(resume, secret, owner);
    if (known && !this.isExpired(known)) {
      return { session: this.#hold(known), resumed: true };
    }
    const before = known ??
      (identity === undefined
        ? undefined
        : this.#verify(identity, secret, owner));
    const fields = {
      id: newId(this.#random),
      clientId: before?.clientId ?? newId(this.#random),
      issuedAtMs: Math.floor(this.#clock.now()),
    };
    const token = sign(fields, secret, owner);
    return {
      session: this.#hold(new Session({ ...fields, token })),
      resumed: false,
    };
  }

  /** The client that a token was issued to, whomever that belonged to. */
  async clientOf(token: string): Promise<string | undefined> {
    const secret = await this.#getSecret();
    const parts = token.split(".");
    const owner = parts.length === OWNED_PARTS ? parts[OWNER_PART] : "";
    return this.#verify(token, secret, owner ?? "")?.clientId;
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
    return toText(
      mac(this.#secret!, `id.${session.id}.${call}.${n}`).subarray(0, 12),
    );
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

  #verify(
    token: string,
    secret: Uint8Array,
    owner: string,
  ): Session | undefined {
    const [clientId = "", id = "", issued = ""] = token.split(".");
    const issuedAtMs = Number.parseInt(issued, 36);
    if (!Number.isSafeInteger(issuedAtMs)) return undefined;
    const fields = { id, clientId, issuedAtMs };
    // The signed text is made anew, so there is one token for each session.
    return isEqual(sign(fields, secret, owner), token)
      ? new Session({ ...fields, token })
      : undefined;
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

function sign(
  { clientId, id, issuedAtMs }: {
    clientId: string;
    id: string;
    issuedAtMs: number;
  },
  secret: Uint8Array,
  owner: string,
): string {
  const parts = [clientId, id, issuedAtMs.toString(36)];
  if (owner !== "") parts.push(owner);
  const text = parts.join(".");
  return `${text}.${toText(mac(secret, `session.${text}`))}`;
}

/** What stands for a principal in a token, and tells nothing of it. */
function ownerOf(principal: string, secret: Uint8Array): string {
  return toText(mac(secret, `principal.${principal}`).subarray(0, 12));
}

/** HMAC-SHA-256 (RFC 2104). */
function mac(secret: Uint8Array, text: string): Uint8Array {
  return hmac(sha256, secret, new TextEncoder().encode(text));
}

/** Compares in a time that does not tell how much is right. */
function isEqual(a: string, b: string): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) {
    difference |= a.charCodeAt(i) ^ b.charCodeAt(i);
  }
  return difference === 0;
}
