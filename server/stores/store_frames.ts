/**
 * The frames that show a store: each is encoded once, whoever is sent it.
 *
 * @module
 */
import {
  encodeFrame,
  encodeJson,
  encodeSnapshot,
} from "../../protocol/codec.ts";
import type { ResumeToken } from "../../protocol/frames.ts";
import { composePatches, type Patch } from "../../protocol/patch.ts";
import type { Json } from "../../protocol/value.ts";
import {
  type Position,
  RecentPatches,
  type SentChange,
} from "./recent_patches.ts";

/** The frame that answers a subscription, and where it leads to. */
export interface StoreAnswer {
  readonly frame: Uint8Array<ArrayBuffer>;
  readonly position: Position;
  /** It gives what was missed, and nothing else can give it as exactly. */
  readonly isResume: boolean;
}

/** What the frames of one store begin with. */
export interface FramesOptions {
  /** Stands for the store in frames. */
  readonly number: number;
  readonly name: string;
  readonly position: Position;
  readonly state: Json;
  /** How much is kept for resumes and slow subscribers. */
  readonly recentBytes: number;
}

/** See the module's documentation. */
export class StoreFrames {
  readonly #number: number;
  readonly #name: string;
  readonly #recent: RecentPatches;
  #position: Position;
  #state: Json;
  /** The last answer that was read from the log. */
  #resume:
    | { key: string; answer: Promise<StoreAnswer | undefined> }
    | undefined;
  #stateBytes:
    | { version: number; epoch: string; bytes: Uint8Array }
    | undefined;
  #snapshot:
    | { version: number; epoch: string; frame: Uint8Array<ArrayBuffer> }
    | undefined;

  /** Frames of a store that is at `position`. */
  constructor({ number, name, position, state, recentBytes }: FramesOptions) {
    this.#number = number;
    this.#name = name;
    this.#recent = new RecentPatches(position, recentBytes);
    this.#position = position;
    this.#state = state;
  }

  /** The state at its position. */
  get state(): Json {
    return this.#state;
  }

  /** Where the store is. */
  get position(): Position {
    return this.#position;
  }

  /** Takes the mutations that led to `state`; all up to the version `sent` was sent. */
  push(
    changes: readonly SentChange[],
    { position, state, sent }: {
      position: Position;
      state: Json;
      sent: number;
    },
  ): void {
    this.#recent.push(changes, { position, sent });
    this.#position = position;
    this.#state = state;
    this.#resume = undefined;
  }

  /** Takes a state that no patch leads to. */
  jump(position: Position, state: Json): void {
    this.#recent.jump(position);
    this.#position = position;
    this.#state = state;
    this.#stateBytes = undefined;
    this.#resume = undefined;
  }

  /** The mutations above a version; undefined where they are not all remembered. */
  since(version: number): readonly SentChange[] | undefined {
    return this.#recent.since(version);
  }

  /** Who made a version, if that is still known. */
  writerOf(version: number): string | undefined {
    return this.#recent.positionAt(version)?.writer;
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

  /** Whether a snapshot is shorter than that many bytes of patches, and worth its encoding. */
  isLongerThanState(bytes: number): boolean {
    return bytes > this.#recent.limitBytes / 4 &&
      bytes > this.stateBytes().byteLength;
  }

  /** The snapshot of the current version; encoded once per version. */
  snapshot(): Uint8Array<ArrayBuffer> {
    const { version, epoch, writer } = this.#position;
    if (this.#snapshot?.version !== version || this.#snapshot.epoch !== epoch) {
      const store = this.#number;
      const frame = encodeSnapshot(
        { type: "snap", store, name: this.#name, epoch, version, writer },
        this.stateBytes(),
      );
      this.#snapshot = { version, epoch, frame };
    }
    return this.#snapshot.frame;
  }

  /** One patch from a position to the current one. */
  patch(
    from: Position,
    changes: readonly SentChange[],
  ): Uint8Array<ArrayBuffer> {
    const { version, writer } = this.#position;
    return encodeFrame({
      type: "patch",
      store: this.#number,
      from: from.version,
      version,
      ...(writer !== from.writer && { writer }),
      patch: composePatches(changes.map(({ patch }) => patch)),
    });
  }

  /**
   * One patch from a version that was sent before to the current one, or undefined
   * where the recent patches do not reach back, or are longer than a snapshot.
   */
  delta(version: number): Uint8Array<ArrayBuffer> | undefined {
    const from = this.#recent.positionAt(version);
    const changes = this.#recent.since(version);
    if (!from || !changes) return undefined;
    const bytes = changes.reduce((sum, { bytes }) => sum + bytes, 0);
    return this.isLongerThanState(bytes)
      ? undefined
      : this.patch(from, changes);
  }

  /** The answer to a token, if the recent patches prove it and hold what was missed. */
  resume(token: ResumeToken): Uint8Array<ArrayBuffer> | undefined {
    const from = this.#recent.positionAt(token.version);
    if (!from || token.epoch !== from.epoch || token.writer !== from.writer) {
      return undefined;
    }
    const changes = this.#recent.since(token.version) ?? [];
    return this.encodeResume(token, changes.map(({ patch }) => patch));
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
      store: this.#number,
      name: this.#name,
      epoch,
      from: token.version,
      version,
      writer,
      patch: composePatches(patches),
    });
  }
}
