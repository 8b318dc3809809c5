/**
 * Keeps one store's log short. The order is what makes a crash at any point
 * harmless: chunks, flip to them, raise the floor, delete below it, sweep the
 * snapshots that are below it, too.
 *
 * @module
 */
import {
  BLOB_GRACE_MS,
  deleteRange,
  type PendingBlob,
  writeBlob,
} from "../log/blobs.ts";
import type { StoreCommit } from "../log/commit.ts";
import {
  addSnapshot,
  type EncodedSnapshot,
  type History,
  isSnapshotDue,
  nextFloor,
  raiseFloor,
  type SnapshotChange,
  trimLog,
} from "../log/compaction.ts";
import { blobPrefix, pendingKey, type StoreId } from "../log/keys.ts";
import type { BlobRef } from "../log/blob_ref.ts";
import type { SnapshotRef } from "../log/head.ts";
import type { Clock, Kv, Random } from "../ports.ts";
import type { NextHead } from "./store_writer.ts";

/** What a compactor needs of its surroundings. */
export interface CompactorEnvironment {
  readonly kv: Kv;
  readonly clock: Clock;
  readonly random: Random;
  readonly onError: (error: unknown, id: StoreId) => void;
}

/** What the next commit changes in the head. */
export interface HeadChange extends SnapshotChange {
  readonly flip?: PendingBlob;
}

type Phase =
  | { readonly name: "idle" | "working" }
  | {
    readonly name: "flipping";
    readonly epoch: string;
    readonly blob: PendingBlob;
    readonly snapshot: SnapshotRef;
    readonly writtenAtMs: number;
  }
  | {
    readonly name: "raising";
    readonly epoch: string;
    readonly floor: number;
  };

/** A flip that does not get through for so long is given up, well before its chunks are swept. */
const FLIP_MS = BLOB_GRACE_MS / 2;

/** See the module's documentation. */
export class Compactor {
  readonly #env: CompactorEnvironment;
  readonly #id: StoreId;
  readonly #history: History;
  readonly #commit: () => void;
  #phase: Phase = { name: "idle" };
  #working: Promise<void> = Promise.resolve();
  #isClosed = false;
  /** A commit met a conflict: that of the flip may be that its chunks are being swept. */
  #isInDoubt = false;

  /** A compactor for one store; `commit` asks for a commit that takes the head change. */
  constructor(
    env: CompactorEnvironment,
    { id, history, commit }: {
      id: StoreId;
      history: History;
      commit: () => void;
    },
  ) {
    this.#env = env;
    this.#id = id;
    this.#history = history;
    this.#commit = commit;
  }

  /** Whether the next commit has a head change to take. */
  get hasHeadChange(): boolean {
    return this.#phase.name === "flipping" || this.#phase.name === "raising";
  }

  /** Whether a compaction is under way. */
  get isBusy(): boolean {
    return this.#phase.name !== "idle";
  }

  /** A commit met a conflict. */
  conflicted(): void {
    this.#isInDoubt = true;
  }

  /** Gives up a flip after a conflict if it can never get through: else no write would, either. */
  async verify(): Promise<void> {
    const phase = this.#phase;
    if (!this.#isInDoubt || phase.name !== "flipping") return;
    const { ref, markerStamp } = phase.blob;
    const marker = await this.#env.kv.get(pendingKey(ref.id));
    this.#isInDoubt = false;
    if (marker.versionstamp !== markerStamp) this.abandon();
  }

  /** What the next commit is to change in the head. */
  headChange(head: NextHead): HeadChange | undefined {
    const phase = this.#phase;
    if (phase.name !== "flipping" && phase.name !== "raising") return undefined;
    if (phase.epoch !== head.epoch || this.#isLate(phase, head)) {
      this.abandon();
      return undefined;
    }
    if (phase.name === "flipping") {
      return { ...addSnapshot(head, phase.snapshot), flip: phase.blob };
    }
    // Asked again: the snapshot may be gone to which it was to rise.
    const floor = this.#nextFloor(head);
    if (floor <= head.floor) {
      this.abandon();
      return undefined;
    }
    this.#phase = { ...phase, floor };
    return raiseFloor(head, floor);
  }

  /** A commit took effect; begins or goes on with a compaction. */
  committed(
    commit: StoreCommit,
    head: NextHead,
    encode: () => EncodedSnapshot,
  ): void {
    const phase = this.#phase;
    if (phase.name === "flipping" && commit.flip === phase.blob) {
      this.#work(() => this.#afterFlip(head, commit.dropped));
    } else if (
      // Another server may have raised it further: this one's work is done, too.
      phase.name === "raising" && (commit.head?.floor ?? -1) >= phase.floor
    ) {
      this.#work(() => this.#trim(head, commit.dropped));
    } else if (phase.name === "idle" && isSnapshotDue(head)) {
      // Encoded now, while the state is the head's.
      const snapshot = encode();
      this.#work(() => this.#write(head, snapshot));
    } else if (phase.name === "idle" && !this.#isClosed) {
      this.#phase = this.#raising(head);
      if (this.hasHeadChange) this.#commit();
    }
  }

  /** Gives up; what was written is swept later. */
  abandon(): void {
    if (this.hasHeadChange) this.#phase = { name: "idle" };
  }

  /** Begins nothing more, and resolves when nothing is under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.abandon();
    await this.#working;
  }

  /** Another server has a newer snapshot, or the chunks may soon be taken for abandoned. */
  #isLate(phase: Phase, head: NextHead): boolean {
    if (phase.name !== "flipping") return false;
    return (head.snapshot?.version ?? -1) >= phase.snapshot.version ||
      this.#env.clock.monotonic() - phase.writtenAtMs > FLIP_MS;
  }

  async #write(
    head: NextHead,
    { bytes, stateBytes }: EncodedSnapshot,
  ): Promise<Phase> {
    const { epoch, version, logBytes, timeMs } = head;
    const { kv, clock, random } = this.#env;
    const writtenAtMs = clock.monotonic();
    const blob = await writeBlob(kv, random, { id: this.#id, epoch, bytes });
    return {
      name: "flipping",
      epoch,
      blob,
      snapshot: { ...blob.ref, version, stateBytes, logBytes, timeMs },
      writtenAtMs,
    };
  }

  async #afterFlip(
    head: NextHead,
    dropped: readonly BlobRef[] | undefined,
  ): Promise<Phase> {
    await this.#remove(head, dropped);
    return this.#raising(head);
  }

  async #trim(
    head: NextHead,
    dropped: readonly BlobRef[] | undefined,
  ): Promise<Phase> {
    await trimLog(this.#env.kv, this.#id, head);
    await this.#remove(head, dropped);
    return { name: "idle" };
  }

  #raising(head: NextHead): Phase {
    const floor = this.#nextFloor(head);
    if (floor <= head.floor) return { name: "idle" };
    return { name: "raising", epoch: head.epoch, floor };
  }

  #nextFloor(head: NextHead): number {
    const { clock } = this.#env;
    return nextFloor(head, { history: this.#history, nowMs: clock.now() });
  }

  /** Removes snapshots that the head does not refer to any more. */
  async #remove(
    { epoch }: NextHead,
    blobs: readonly BlobRef[] = [],
  ): Promise<void> {
    const { kv } = this.#env;
    for (const { id } of blobs) {
      await deleteRange(kv, blobPrefix(this.#id, epoch, id));
      await kv.atomic().delete(pendingKey(id)).commit();
    }
  }

  #work(step: () => Promise<Phase>): void {
    // What is left behind is swept; after the close there is no KV to go on with.
    if (this.#isClosed) return;
    this.#phase = { name: "working" };
    this.#working = step().then((phase) => {
      this.#phase = this.#isClosed ? { name: "idle" } : phase;
      if (this.hasHeadChange) this.#commit();
    }, (error) => {
      // The store goes on without: the log is longer than it need be, nothing is lost.
      this.#phase = { name: "idle" };
      this.#env.onError(error, this.#id);
    });
  }
}
