/**
 * The newest versions of a store, as far back as they are kept for resumes and slow
 * subscribers.
 *
 * @module
 */
import type { Patch } from "../../protocol/patch.ts";
import type { Origin } from "../log/mutation.ts";

/** The wire's view of a state. */
export interface Position {
  readonly epoch: string;
  readonly version: number;
  readonly writer: string;
}

/** One mutation, as subscribers are sent it. */
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

/** Numbers of calls, by session. */
export type OwnCalls = ReadonlyMap<string, readonly number[]>;

/** See the module's documentation. */
export class RecentPatches {
  readonly #limitBytes: number;
  /** Without gap, above `#oldest`. */
  #recent: Recent[] = [];
  #bytes = 0;
  #oldest: Position;
  #newest: Position;

  /** Nothing is known but a position; what is added is kept up to that size. */
  constructor(position: Position, limitBytes: number) {
    this.#limitBytes = limitBytes;
    this.#oldest = this.#newest = position;
  }

  /** How much is kept. */
  get limitBytes(): number {
    return this.#limitBytes;
  }

  /** Takes the mutations that led to a position; what is above the version `sent` is not forgotten. */
  push(
    changes: readonly SentChange[],
    { position, sent }: { position: Position; sent: number },
  ): void {
    const { writer } = position;
    let version = position.version - changes.length;
    for (const change of changes) {
      this.#recent.push({ ...change, version: ++version, writer });
      this.#bytes += change.bytes;
    }
    this.#newest = position;
    this.#forget(sent);
  }

  /** Begins anew at a position to which no patch leads. */
  jump(position: Position): void {
    this.#recent = [];
    this.#bytes = 0;
    this.#oldest = this.#newest = position;
  }

  /** The mutations above a version; undefined where they are not all remembered. */
  since(version: number): readonly SentChange[] | undefined {
    return this.positionAt(version) && this.#above(version);
  }

  /** The position of a version, if that is still known. */
  positionAt(version: number): Position | undefined {
    const { epoch, version: newest } = this.#newest;
    if (version > newest || version < this.#oldest.version) return undefined;
    if (version === this.#oldest.version) return this.#oldest;
    const { writer } = this.#recent[version - this.#oldest.version - 1]!; // in range by the line above
    return { epoch, version, writer };
  }

  #above(version: number): Recent[] {
    return this.#recent.slice(version - this.#oldest.version);
  }

  #forget(sent: number): void {
    let drop = 0;
    let bytes = this.#bytes;
    while (bytes > this.#limitBytes && drop < this.#recent.length) {
      const { version, bytes: size } = this.#recent[drop]!; // in range by the loop's condition
      // What is not sent yet stays, however large it is.
      if (version > sent) break;
      bytes -= size;
      drop++;
    }
    // In large steps: taking one from the front of a long array moves all others.
    if (drop === 0 || (drop < 64 && drop < this.#recent.length / 2)) return;
    const { version, writer } = this.#recent[drop - 1]!; // drop > 0
    this.#oldest = { epoch: this.#newest.epoch, version, writer };
    this.#recent.splice(0, drop);
    this.#bytes = bytes;
  }
}

/** The calls that made some of the changes, by session; most changes are no call's. */
export function callsOf(
  changes: readonly SentChange[],
): OwnCalls | undefined {
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
