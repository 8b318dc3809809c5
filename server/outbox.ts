/**
 * What waits to be sent: all frames of one tick for one connection become one
 * message, and a connection that does not keep up is noticed before its buffer
 * grows.
 *
 * A socket has no event for "drained", so connections whose socket holds back
 * bytes are looked at every few milliseconds, and only those.
 *
 * Long messages go in parts where the client has asked for it: it hears that it is
 * not forgotten, and a socket that stalls holds a few of them, not the message.
 *
 * @module
 */
import { joinFrames } from "../protocol/codec.ts";
import { partBytes, PartQueue } from "./part_queue.ts";
import type { Clock, Socket, Timer } from "./ports.ts";
import { StallWatch } from "./stall_watch.ts";

/** How often lagging sockets are looked at. */
const LOOK_MS = 20;
/** The first look: a socket that holds a large snapshot has mostly passed it on by then. */
const FIRST_LOOK_MS = 2;
/** Turns of the event loop after which a system that has room has mostly taken what it was given. */
const SPIN_TURNS = 3;
/** Further ones, a moment apart; then the next look is soon enough. */
const LATE_TURNS = 10;
/** What a socket may hold of a message in parts, of `outboxBytes`. */
const WINDOW = 1 / 8;
/** Whoever an outbox belongs to. */
export interface OutboxOwner {
  /** When anything was last received, by the monotonic clock. */
  readonly heardAtMs: number;
  /** The socket can take more again: what was held back may be pushed. */
  drained(): void;
  /** The peer took nothing for too long, and says nothing either. */
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
  /** Size of the parts of long messages; holds for what is pushed from then on. */
  partBytes: number = partBytes(0);
  readonly #pending = new Set<Outbox>();
  readonly #lagging = new Set<Outbox>();
  /** Bytes that lagging sockets held when they were last looked at. */
  #laggingBytes = 0;
  #isDeferred = false;
  readonly #later = new Set<Outbox>();
  #laterTimer: Timer | undefined;
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

  /** Bytes that wait for them. */
  get laggingBytes(): number {
    let bytes = 0;
    for (const outbox of this.#lagging) bytes += outbox.bufferedBytes;
    return bytes;
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

  /** The same in a moment. */
  scheduleLater(outbox: Outbox): void {
    this.#later.add(outbox);
    this.#laterTimer ??= this.clock.setTimer(FIRST_LOOK_MS, () => {
      this.#laterTimer = undefined;
      const outboxes = [...this.#later];
      this.#later.clear();
      for (const outbox of outboxes) outbox.flush();
    });
  }

  /** Looks at `outbox` until it has drained. */
  watch(outbox: Outbox, bytes: number): void {
    if (outbox.isLagging) return;
    outbox.isLagging = true;
    this.#lagging.add(outbox);
    this.#laggingBytes += bytes;
    this.#look ??= this.#scheduleLook(FIRST_LOOK_MS);
  }

  /** Forgets an outbox. */
  delete(outbox: Outbox): void {
    this.#pending.delete(outbox);
    this.#later.delete(outbox);
    this.#lagging.delete(outbox);
  }

  /** Stops looking. */
  close(): void {
    this.#look?.cancel();
    this.#laterTimer?.cancel();
    this.#look = this.#laterTimer = undefined;
  }

  #scheduleLook(ms = LOOK_MS): Timer {
    return this.clock.setTimer(ms, () => {
      this.#laggingBytes = 0;
      for (const outbox of this.#lagging) {
        this.#laggingBytes += outbox.bufferedBytes;
      }
      for (const outbox of [...this.#lagging]) {
        if (!outbox.look()) continue;
        outbox.isLagging = false;
        this.#lagging.delete(outbox);
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
  /** Kept by {@linkcode Outboxes}: whether its socket is looked at. */
  isLagging = false;
  #frames: Uint8Array<ArrayBuffer>[] = [];
  #frameBytes = 0;
  #isCutting = false;
  /** A message in parts, and what waits behind it. */
  #queue: PartQueue | undefined;
  /** Attempts to send a part, since the last that did. */
  #idleTurns = 0;
  /** Bytes of everything that was pushed. */
  #pushedBytes = 0;
  /** Present while the socket holds too much. */
  #stall: StallWatch | undefined;
  #isPaused = false;
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
    return this.#socket.bufferedBytes + this.#frameBytes +
      (this.#queue?.bytes ?? 0);
  }

  /**
   * Whether nothing more may be pushed that can be sent later in a shorter form.
   * Once full, it stays so until it has drained to a half.
   */
  get isFull(): boolean {
    return this.isPaused || this.isOverfull;
  }

  /** Whether that is because the peer does not keep up. */
  get isOverfull(): boolean {
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

  /** Whether nothing may be shown until it is known who is there. */
  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** Counts as full, whatever the peer takes, until it goes on. */
  pause(): void {
    this.#isPaused = true;
  }

  /** Ends that; what was held back may be pushed. */
  goOn(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    if (!this.isFull && !this.#isClosed) this.#owner.drained();
  }

  /** Asks to be told when more may be pushed. */
  hold(): void {
    if (this.#isClosed) return;
    this.#isHeld = true;
    this.#all.watch(this, this.bufferedBytes);
  }

  /** Sends long messages in parts from here on: the client has asked for it. */
  cutLongMessages(): void {
    this.#isCutting = true;
  }

  /** Adds a frame. */
  push(frame: Uint8Array<ArrayBuffer>): void {
    if (this.#isClosed) return;
    if (this.#frames.length === 0) this.#all.schedule(this);
    this.#frames.push(frame);
    this.#frameBytes += frame.byteLength;
    this.#pushedBytes += frame.byteLength;
  }

  /**
   * Sends what was pushed, as one message, or as much of it as may go now; all
   * of it if `isLast`.
   */
  flush(isLast = false): void {
    if (this.#isClosed) return;
    // A message that waits in a socket costs some hundred bytes more than it has; here its
    // frames are mostly everybody's, and go as one message once there is room.
    const { outboxBytes } = this.#all.limits;
    const mustWait = this.isLagging && !isLast &&
      this.#socket.bufferedBytes > outboxBytes / 16;
    if (this.#frames.length > 0 && !mustWait) {
      const frames = this.#frames;
      const bytes = this.#frameBytes;
      this.#frames = [];
      this.#frameBytes = 0;
      if (!this.#queue && (bytes <= this.#all.partBytes || !this.#isCutting)) {
        return this.#send(joinFrames(frames));
      }
      this.#queue ??= new PartQueue(this.#all.partBytes);
      this.#queue.push(frames, bytes);
    }
    this.#sendParts(isLast ? Infinity : outboxBytes * WINDOW);
  }

  /** Sends all that waits, before the end; what is over the bound is lost with the rest. */
  finish(): void {
    this.flush(this.bufferedBytes <= this.#all.limits.outboxBytes);
  }

  /** Looks whether the socket has drained; true if it need not be looked at again. */
  look(): boolean {
    this.flush();
    if (this.#isClosed) return true;
    const bytes = this.bufferedBytes;
    const { outboxBytes } = this.#all.limits;
    if (
      bytes <= outboxBytes / 2 &&
      (bytes <= outboxBytes / 16 || this.#all.hasRoom)
    ) {
      this.#stall = undefined;
      if (this.#isHeld) {
        this.#isHeld = false;
        this.#owner.drained();
      }
      return !this.#isHeld && !this.#queue && bytes <= outboxBytes / 16;
    }
    const { clock, limits: { stallMs } } = this.#all;
    this.#stall ??= new StallWatch(clock, stallMs);
    const taken = this.#pushedBytes - bytes;
    if (!this.#stall.hasStalled(taken, this.#owner.heardAtMs)) return false;
    this.#owner.stalled();
    return true;
  }

  /** Drops everything. */
  close(): void {
    this.#isClosed = true;
    this.#frames = [];
    this.#frameBytes = 0;
    this.#queue = undefined;
    this.#all.delete(this);
  }

  #send(message: Uint8Array<ArrayBuffer>): void {
    if (this.#socket.send(message) === "gone") return this.#owner.gone();
    const bytes = this.#socket.bufferedBytes;
    if (bytes > this.#all.limits.outboxBytes / 16) this.#all.watch(this, bytes);
  }

  /** Sends from the queue while the socket holds less than that. */
  #sendParts(windowBytes: number): void {
    const queue = this.#queue;
    if (!queue) return;
    let sent = 0;
    while (this.#socket.bufferedBytes < windowBytes) {
      const message = queue.next();
      if (!message) {
        this.#queue = undefined;
        break;
      }
      if (this.#socket.send(message) === "gone") return this.#owner.gone();
      sent++;
    }
    const bytes = this.bufferedBytes;
    if (this.#queue || bytes > this.#all.limits.outboxBytes / 16) {
      this.#all.watch(this, bytes);
    }
    if (!this.#queue) return;
    // A peer that reads gets the next ones as soon as the system has taken these.
    this.#idleTurns = sent > 0 ? 0 : this.#idleTurns + 1;
    if (this.#idleTurns < SPIN_TURNS) this.#all.schedule(this);
    else if (this.#idleTurns < LATE_TURNS) this.#all.scheduleLater(this);
  }
}
