/**
 * What waits to be sent: all frames of one tick for one connection become one
 * message, and a connection that does not keep up is noticed before its buffer
 * grows.
 *
 * A socket has no event for "drained", so connections whose socket holds back
 * bytes are looked at every few milliseconds, and only those.
 *
 * @module
 */
import { joinFrames } from "../protocol/codec.ts";
import type { Clock, Socket, Timer } from "./ports.ts";

/** How often lagging sockets are looked at. */
const LOOK_MS = 20;
/** The first look: a socket that holds a large snapshot has mostly passed it on by then. */
const FIRST_LOOK_MS = 2;

/** Whoever an outbox belongs to. */
export interface OutboxOwner {
  /** The socket can take more again: what was held back may be pushed. */
  drained(): void;
  /** The peer took nothing for too long. */
  stalled(): void;
  /** The socket is gone. */
  gone(): void;
}

/** Limits of outboxes. */
export interface OutboxLimits {
  readonly outboxBytes: number;
  readonly outboxTotalBytes: number;
  readonly stallMs: number;
}

/** Sends for all connections of a server. */
export class Outboxes {
  readonly clock: Clock;
  readonly limits: OutboxLimits;
  readonly #pending = new Set<Outbox>();
  readonly #lagging = new Set<Outbox>();
  /** Bytes that lagging sockets held when they were last looked at. */
  #laggingBytes = 0;
  #isDeferred = false;
  #look: Timer | undefined;

  /** No connections yet. */
  constructor(clock: Clock, limits: OutboxLimits) {
    this.clock = clock;
    this.limits = limits;
  }

  /** Whether the server may buffer more. */
  get hasRoom(): boolean {
    return this.#laggingBytes < this.limits.outboxTotalBytes;
  }

  /** Connections whose sockets hold back bytes. */
  get lagging(): number {
    return this.#lagging.size;
  }

  /** Sends what is in `outbox` at the end of this tick. */
  schedule(outbox: Outbox): void {
    this.#pending.add(outbox);
    if (this.#isDeferred) return;
    this.#isDeferred = true;
    this.clock.defer(() => {
      this.#isDeferred = false;
      const outboxes = [...this.#pending];
      this.#pending.clear();
      for (const outbox of outboxes) outbox.flush();
    });
  }

  /** Looks at `outbox` until it has drained. */
  watch(outbox: Outbox, bytes: number): void {
    if (this.#lagging.has(outbox)) return;
    this.#lagging.add(outbox);
    this.#laggingBytes += bytes;
    this.#look ??= this.#scheduleLook(FIRST_LOOK_MS);
  }

  /** Forgets an outbox. */
  delete(outbox: Outbox): void {
    this.#pending.delete(outbox);
    this.#lagging.delete(outbox);
  }

  /** Stops looking. */
  close(): void {
    this.#look?.cancel();
    this.#look = undefined;
  }

  #scheduleLook(ms = LOOK_MS): Timer {
    return this.clock.setTimer(ms, () => {
      this.#laggingBytes = 0;
      for (const outbox of this.#lagging) {
        this.#laggingBytes += outbox.bufferedBytes;
      }
      for (const outbox of [...this.#lagging]) {
        if (outbox.look()) this.#lagging.delete(outbox);
      }
      this.#look = this.#lagging.size > 0 ? this.#scheduleLook() : undefined;
    });
  }
}

/** Frames of one connection that wait for the end of the tick. */
export class Outbox {
  readonly #socket: Socket;
  readonly #owner: OutboxOwner;
  readonly #all: Outboxes;
  #frames: Uint8Array<ArrayBuffer>[] = [];
  #frameBytes = 0;
  /** Least that the socket held since it began to lag, and when. */
  #least: { bytes: number; atMs: number } | undefined;
  #isHeld = false;
  #isClosed = false;

  /** An outbox in front of `socket`. */
  constructor(socket: Socket, owner: OutboxOwner, all: Outboxes) {
    this.#socket = socket;
    this.#owner = owner;
    this.#all = all;
  }

  /** Bytes that the peer has not taken. */
  get bufferedBytes(): number {
    return this.#socket.bufferedBytes + this.#frameBytes;
  }

  /**
   * Whether nothing more may be pushed that can be sent later in a shorter form.
   * Once full, it stays so until it has drained to a half.
   */
  get isFull(): boolean {
    if (this.#isHeld) return true;
    const { outboxBytes } = this.#all.limits;
    const bytes = this.bufferedBytes;
    // Below its own bound a connection may be full because all others are, too.
    if (
      bytes <= outboxBytes && (bytes <= outboxBytes / 16 || this.#all.hasRoom)
    ) return false;
    this.hold();
    return true;
  }

  /** Asks to be told when more may be pushed. */
  hold(): void {
    if (this.#isClosed) return;
    this.#isHeld = true;
    this.#all.watch(this, this.bufferedBytes);
  }

  /** Adds a frame. */
  push(frame: Uint8Array<ArrayBuffer>): void {
    if (this.#isClosed) return;
    if (this.#frames.length === 0) this.#all.schedule(this);
    this.#frames.push(frame);
    this.#frameBytes += frame.byteLength;
  }

  /** Sends what was pushed, as one message. */
  flush(): void {
    if (this.#frames.length === 0 || this.#isClosed) return;
    const frames = this.#frames;
    this.#frames = [];
    this.#frameBytes = 0;
    if (this.#socket.send(joinFrames(frames)) === "gone") {
      return this.#owner.gone();
    }
    const bytes = this.#socket.bufferedBytes;
    if (bytes > this.#all.limits.outboxBytes / 16) this.#all.watch(this, bytes);
  }

  /** Looks whether the socket has drained; true if it need not be looked at again. */
  look(): boolean {
    const bytes = this.bufferedBytes;
    const now = this.#all.clock.monotonic();
    const { outboxBytes, stallMs } = this.#all.limits;
    if (!this.#least || bytes < this.#least.bytes) {
      this.#least = { bytes, atMs: now };
    }
    if (
      bytes <= outboxBytes / 2 &&
      (bytes <= outboxBytes / 16 || this.#all.hasRoom)
    ) {
      this.#least = undefined;
      if (this.#isHeld) {
        this.#isHeld = false;
        this.#owner.drained();
      }
      return !this.#isHeld && bytes <= outboxBytes / 16;
    }
    if (now - this.#least.atMs < stallMs) return false;
    this.#owner.stalled();
    return true;
  }

  /** Drops everything. */
  close(): void {
    this.#isClosed = true;
    this.#frames = [];
    this.#frameBytes = 0;
    this.#all.delete(this);
  }
}
