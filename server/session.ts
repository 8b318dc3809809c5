/**
 * One session of a client: the calls that it has made, and their answers as long as they
 * may be asked for again.
 *
 * @module
 */
import type { WrittenTo } from "./log/answers.ts";

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

/**
 * Answers of one session are kept up to this size together, the newest of them: a
 * client that never gives one up would otherwise fill the memory.
 */
const KEPT_SESSION_BYTES = 512 * 1024;

/** What a kept answer costs beside its frame; small frames share buffers. */
const KEPT_OVERHEAD_BYTES = 512;

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
