/**
 * What a store's subscribers are sent: each version is encoded once, whoever
 * listens; under load the patches of a few milliseconds are one frame.
 *
 * @module
 */
import {
  encodeFrame,
  encodeJson,
  encodeSnapshot,
} from "../../protocol/codec.ts";
import type { HeadwaterError } from "../../protocol/errors.ts";
import type { ResumeToken } from "../../protocol/frames.ts";
import { composePatches, type Patch } from "../../protocol/patch.ts";
import type { Json } from "../../protocol/value.ts";
import type { Origin } from "../log/mutation.ts";
import type { Clock, Timer } from "../ports.ts";
import type { JointReceiver } from "./joint_delivery.ts";

/** Bytes of recent patches that are kept for resumes and slow subscribers. */
const RECENT_BYTES = 256 * 1024;
/** What one send costs, roughly; fan-out may take half of a core, not more. */
const SEND_MS = 0.008;

/** The wire's view of a state. */
export interface Position {
  readonly epoch: string;
  readonly version: number;
  readonly writer: string;
}

/** The frame that answers a subscription, and where it leads to. */
export interface StoreAnswer {
  readonly frame: Uint8Array<ArrayBuffer>;
  readonly position: Position;
  /** It gives what was missed, and nothing else can give it as exactly. */
  readonly isResume: boolean;
}

/** What every subscriber is sent of some versions. */
export interface Delivery {
  readonly frame: Uint8Array<ArrayBuffer>;
  readonly from: number;
  readonly version: number;
  /** The calls whose writes are in it, by session. */
  readonly calls: OwnCalls | undefined;
}

/** Numbers of calls, by session. */
export type OwnCalls = ReadonlyMap<string, readonly number[]>;

/** Whoever is sent a store's changes. */
export interface Subscriber {
  /** Whose it is, where that one is to get what belongs together at once. */
  readonly receiver?: JointReceiver;
  /** Takes the frame with versions `from + 1` to `version`. */
  patched(fanout: Fanout, delivery: Delivery): void;
  /** The state has moved where no patch leads: it needs a snapshot. */
  jumped(fanout: Fanout): void;
  /** The store is gone, or cannot be read any more. */
  ended(fanout: Fanout, reason: "deleted" | HeadwaterError): void;
}

/** Hands what was gathered to a subscriber of a fan-out. */
type Send = (
  fanout: Fanout,
  subscriber: Subscriber,
  delivery: Delivery,
) => void;

/** Shows the subscribers behind it something else than the state. */
export interface Relay {
  /** How many listen. */
  readonly size: number;
  /** Takes what the store has come to; what is returned has to be flushed. */
  advance(): Iterable<Fanout>;
  /** The state has moved where no patch leads. */
  jumped(): void;
  /** See {@linkcode Fanout.end}. */
  ended(reason: "deleted" | HeadwaterError): void;
}

/** One mutation, as the fan-out takes it. */
export interface SentChange {
  readonly patch: Patch;
  readonly bytes: number;
  /** Which numbered write it is, if it is one. */
  readonly origin: Origin | undefined;
  /** Whether the client that made it may have reckoned with another patch. */
  readonly isOpaque?: boolean | undefined;
}

interface Recent extends SentChange {
  readonly version: number;
  readonly writer: string;
}

/** The subscribers of one loaded store. */
export class Fanout {
  /** Stands for the store in frames. */
  readonly number: number;
  readonly name: string;
  /** Hands the store's changes on in another form. */
  relay: Relay | undefined;
  readonly #clock: Clock;
  readonly #maxWindowMs: number;
  readonly #recentLimit: number;
  readonly #watch: (departed: number) => void;
  readonly #subscribers = new Set<Subscriber>();
  #position: Position;
  #state: Json;
  /** The last answer that was read from the log. */
  #resume:
    | { key: string; answer: Promise<StoreAnswer | undefined> }
    | undefined;
  /** The newest versions, without gap, above `#oldest`. */
  #recent: Recent[] = [];
  #recentBytes = 0;
  #oldest: Position;
  /** Up to here everything was handed to the subscribers. */
  #sent: Position;
  #timer: Timer | undefined;
  /** Present while nothing is shown of what comes. */
  #hold: PromiseWithResolvers<void> | undefined;
  #sentAtMs = -Infinity;
  #stateBytes:
    | { version: number; epoch: string; bytes: Uint8Array }
    | undefined;
  #snapshot:
    | { version: number; epoch: string; frame: Uint8Array<ArrayBuffer> }
    | undefined;

  /** A fan-out that begins at `position`. */
  constructor(
    {
      number,
      name,
      clock,
      maxWindowMs,
      position,
      state,
      recentBytes = RECENT_BYTES,
      watch = () => {},
    }: {
      number: number;
      name: string;
      clock: Clock;
      maxWindowMs: number;
      position: Position;
      state: Json;
      /** How much is kept for resumes and slow subscribers. */
      recentBytes?: number;
      /** Called when it has other subscribers, with how many of them have left. */
      watch?: ((departed: number) => void) | undefined;
    },
  ) {
    this.number = number;
    this.name = name;
    this.#clock = clock;
    this.#maxWindowMs = maxWindowMs;
    this.#recentLimit = recentBytes;
    this.#watch = watch;
    this.#position = this.#oldest = this.#sent = position;
    this.#state = state;
  }

  /** How many listen. */
  get size(): number {
    return this.#subscribers.size + (this.relay?.size ?? 0);
  }

  /** The state at its position. */
  get state(): Json {
    return this.#state;
  }

  /** Where the store is. */
  get position(): Position {
    return this.#position;
  }

  /** Lets `subscriber` have every change after the current version. */
  add(subscriber: Subscriber): void {
    // What is gathered belongs before the current version: it must not reach the newcomer.
    this.flush();
    const { size } = this.#subscribers;
    this.#subscribers.add(subscriber);
    if (this.#subscribers.size > size) this.#watch(0);
  }

  /** Undoes {@linkcode Fanout.add}. */
  delete(subscriber: Subscriber): void {
    if (this.#subscribers.delete(subscriber)) this.#watch(1);
  }

  /** Takes the mutations that led to `state`; the last of them made `position`. */
  push(
    changes: readonly SentChange[],
    { position, state }: { position: Position; state: Json },
  ): void {
    let version = position.version - changes.length;
    for (const change of changes) {
      const { writer } = position;
      this.#recent.push({ ...change, version: ++version, writer });
      this.#recentBytes += change.bytes;
    }
    this.#position = position;
    this.#state = state;
    this.#resume = undefined;
    this.#forget();
    this.#schedule();
  }

  /** Takes a state that no patch leads to. */
  jump(position: Position, state: Json): void {
    this.#cancel();
    this.#recent = [];
    this.#recentBytes = 0;
    this.#position = this.#oldest = this.#sent = position;
    this.#state = state;
    this.#stateBytes = undefined;
    this.#resume = undefined;
    this.relay?.jumped();
    for (const subscriber of this.#subscribers) subscriber.jumped(this);
  }

  /** Tells every subscriber that it is over. */
  end(reason: "deleted" | HeadwaterError): void {
    this.#cancel();
    const subscribers = [...this.#subscribers];
    this.#subscribers.clear();
    // Nobody leaves a store that is gone; one that cannot be read is left by all.
    this.#watch(reason === "deleted" ? 0 : subscribers.length);
    for (const subscriber of subscribers) subscriber.ended(this, reason);
    this.relay?.ended(reason);
  }

  /** Gathers what comes, and shows nothing of it, until it is released. */
  hold(): void {
    this.#cancel();
    this.#hold ??= Promise.withResolvers();
  }

  /** Undoes {@linkcode Fanout.hold}; what was gathered has to be flushed then. */
  release(): void {
    this.#hold?.resolve();
    this.#hold = undefined;
  }

  /** Resolves when it is not held any more; undefined where it is not. */
  get released(): Promise<void> | undefined {
    return this.#hold?.promise;
  }

  /** How long it is until the next frame is due. */
  get waitMs(): number {
    const sinceMs = this.#clock.monotonic() - this.#sentAtMs;
    return Math.max(0, this.#windowMs - 1 - sinceMs);
  }

  /** Hands what was gathered to the subscribers now, or to whoever hands it on. */
  flush(
    send: Send = (fanout, subscriber, delivery) =>
      subscriber.patched(fanout, delivery),
  ): void {
    if (this.#hold) return;
    this.#cancel();
    const from = this.#sent;
    if (from.version === this.#position.version) return;
    this.#sent = this.#position;
    if (this.size === 0) return;
    this.#sentAtMs = this.#clock.monotonic();
    for (const fanout of this.relay?.advance() ?? []) fanout.flush(send);
    if (this.#subscribers.size === 0) return;
    const delivery = {
      frame: this.#patchFrame(from),
      from: from.version,
      version: this.#position.version,
      calls: callsOf(this.#recentSince(from.version)),
    };
    for (const subscriber of this.#subscribers) {
      send(this, subscriber, delivery);
    }
  }

  /** The calls whose writes are above a version; undefined where there are none. */
  callsSince(version: number): OwnCalls | undefined {
    return callsOf(this.since(version) ?? []);
  }

  /** The state, encoded; kept for its version. */
  stateBytes(): Uint8Array {
    const { version, epoch } = this.#position;
    if (
      this.#stateBytes?.version !== version || this.#stateBytes.epoch !== epoch
    ) {
      this.#stateBytes = { version, epoch, bytes: encodeJson(this.#state) };
    }
    return this.#stateBytes.bytes;
  }

  /** The snapshot frame of the current version; encoded once per version. */
  snapshotFrame(): Uint8Array<ArrayBuffer> {
    const { version, epoch, writer } = this.#position;
    if (this.#snapshot?.version !== version || this.#snapshot.epoch !== epoch) {
      const { number: store, name } = this;
      const frame = encodeSnapshot(
        { type: "snap", store, name, epoch, version, writer },
        this.stateBytes(),
      );
      this.#snapshot = { version, epoch, frame };
    }
    return this.#snapshot.frame;
  }

  /**
   * One patch frame from a version that was sent before to the current one, or
   * undefined where the recent patches do not reach back, or are longer than a
   * snapshot.
   */
  deltaFrame(version: number): Uint8Array<ArrayBuffer> | undefined {
    const from = this.#positionAt(version);
    if (!from) return undefined;
    const bytes = this.#recentSince(version).reduce(
      (sum, { bytes }) => sum + bytes,
      0,
    );
    return this.isLongerThanState(bytes) ? undefined : this.#patchFrame(from);
  }

  /** Whether a snapshot is shorter than that many bytes of patches, and worth its encoding. */
  isLongerThanState(bytes: number): boolean {
    return bytes > this.#recentLimit / 4 &&
      bytes > this.stateBytes().byteLength;
  }

  /** The mutations above a version; undefined where they are not all remembered. */
  since(version: number): readonly SentChange[] | undefined {
    return this.#positionAt(version) && this.#recentSince(version);
  }

  /** Who made a version, if that is still known. */
  writerOf(version: number): string | undefined {
    return this.#positionAt(version)?.writer;
  }

  /** The answer to a token, if the recent patches prove it and hold what was missed. */
  resumeFrame(token: ResumeToken): Uint8Array<ArrayBuffer> | undefined {
    const from = this.#positionAt(token.version);
    if (!from || token.epoch !== from.epoch || token.writer !== from.writer) {
      return undefined;
    }
    return this.encodeResume(
      token,
      this.#recentSince(token.version).map(({ patch }) => patch),
    );
  }

  /**
   * The answer that `read` gives to a token, read once for all who come back with
   * the same token to the same version: after a restart these are many.
   */
  shareResume(
    { version, writer }: ResumeToken,
    read: () => Promise<StoreAnswer | undefined>,
  ): Promise<StoreAnswer | undefined> {
    const key = `${version} ${writer} ${this.#position.version}`;
    if (this.#resume?.key === key) return this.#resume.answer;
    const answer = read();
    this.#resume = { key, answer };
    answer.catch(() => this.#resume = undefined);
    return answer;
  }

  /** The answer to a token that the log has proven; `patches` lead to the position `to`. */
  encodeResume(
    token: ResumeToken,
    patches: readonly Patch[],
    to: Position = this.#position,
  ): Uint8Array<ArrayBuffer> {
    const { version, epoch, writer } = to;
    return encodeFrame({
      type: "resume",
      store: this.number,
      name: this.name,
      epoch,
      from: token.version,
      version,
      writer,
      patch: composePatches(patches),
    });
  }

  #patchFrame(from: Position): Uint8Array<ArrayBuffer> {
    const { version, writer } = this.#position;
    return encodeFrame({
      type: "patch",
      store: this.number,
      from: from.version,
      version,
      ...(writer !== from.writer && { writer }),
      patch: composePatches(
        this.#recentSince(from.version).map(({ patch }) => patch),
      ),
    });
  }

  #recentSince(version: number): Recent[] {
    return this.#recent.slice(version - this.#oldest.version);
  }

  #positionAt(version: number): Position | undefined {
    if (version > this.#position.version || version < this.#oldest.version) {
      return undefined;
    }
    if (version === this.#oldest.version) return this.#oldest;
    const { writer } = this.#recent[version - this.#oldest.version - 1]!; // in range by the line above
    return { epoch: this.#position.epoch, version, writer };
  }

  /** Sent at once when idle. A frame to many subscribers costs more than it is worth to be early. */
  get #windowMs(): number {
    return Math.min(
      this.#maxWindowMs,
      2 * SEND_MS * this.size,
    );
  }

  #schedule(): void {
    if (this.#timer || this.#hold) return;
    const windowMs = this.#windowMs;
    const sinceMs = this.#clock.monotonic() - this.#sentAtMs;
    if (sinceMs >= windowMs - 1) return this.flush();
    this.#timer = this.#clock.setTimer(windowMs, () => {
      this.#timer = undefined;
      this.flush();
    });
  }

  #forget(): void {
    let drop = 0;
    let bytes = this.#recentBytes;
    while (bytes > this.#recentLimit && drop < this.#recent.length) {
      const { version, bytes: size } = this.#recent[drop]!; // in range by the loop's condition
      // What is not sent yet stays, however large it is.
      if (version > this.#sent.version) break;
      bytes -= size;
      drop++;
    }
    // In large steps: taking one from the front of a long array moves all others.
    if (drop === 0 || (drop < 64 && drop < this.#recent.length / 2)) return;
    const { version, writer } = this.#recent[drop - 1]!; // drop > 0
    this.#oldest = { epoch: this.#position.epoch, version, writer };
    this.#recent.splice(0, drop);
    this.#recentBytes = bytes;
  }

  #cancel(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}

/** The calls that made some of the changes, by session; most changes are no call's. */
function callsOf(changes: readonly SentChange[]): OwnCalls | undefined {
  let calls: Map<string, number[]> | undefined;
  for (const { origin } of changes) {
    if (!origin) continue;
    calls ??= new Map();
    const known = calls.get(origin.session);
    if (!known) calls.set(origin.session, [origin.call]);
    else if (known.at(-1) !== origin.call) known.push(origin.call);
  }
  return calls;
}
