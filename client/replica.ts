/**
 * A client's copy of one store. This module is browser compatible.
 *
 * @module
 */
import type {
  PatchFrame,
  ResumeFrame,
  ResumeToken,
  SnapshotFrame,
} from "../protocol/frames.ts";
import { applyPatch, type Patch } from "../protocol/patch.ts";
import { freezeDeep, type Json } from "../protocol/json.ts";

/** A state and where in the store's history it stands. Never changed, only replaced. */
export interface Replicated extends ResumeToken {
  /** The state, frozen deeply. */
  readonly state: Json;
}

/** What brings a state, or a change of it. */
export type StateFrame = SnapshotFrame | ResumeFrame | PatchFrame;

/** What became of a frame; `"gap"`: it does not fit, and something is missing. */
export type ReplicaOutcome = "changed" | "ignored" | "gap";

/**
 * The copy. It moves forward by what fits exactly, or jumps forward to a
 * snapshot; what does not fit is never applied.
 */
export class Replica {
  #current: Replicated | undefined;
  #isBroken = false;

  /** The state, or undefined before the first snapshot. */
  get current(): Replicated | undefined {
    return this.#current;
  }

  /** True after a patch that could not be applied, until the next snapshot. */
  get isBroken(): boolean {
    return this.#isBroken;
  }

  /** What to ask for what was missed with; undefined asks for a snapshot. */
  get token(): ResumeToken | undefined {
    if (this.#current === undefined || this.#isBroken) return undefined;
    const { epoch, version, writer } = this.#current;
    return { epoch, version, writer };
  }

  /** Goes on with what an earlier copy had. */
  restore(kept: Replicated): void {
    this.#current = { ...kept, state: freezeDeep(kept.state) };
    this.#isBroken = false;
  }

  /**
   * Takes any of them.
   *
   * @throws {HeadwaterError} `bad_patch` if it cannot be applied; then only a snapshot helps.
   */
  apply(frame: StateFrame): ReplicaOutcome {
    switch (frame.type) {
      case "snap":
        return this.snapshot(frame);
      case "resume":
        return this.resume(frame);
      case "patch":
        return this.patch(frame);
    }
  }

  /** Takes a whole state, unless it is older than this one. */
  snapshot(frame: SnapshotFrame): ReplicaOutcome {
    const { epoch, version, writer, state } = frame;
    const current = this.#current;
    if (current?.epoch === epoch && !this.#isNews(current, version, writer)) {
      return "ignored";
    }
    this.#current = { epoch, version, writer, state: freezeDeep(state) };
    this.#isBroken = false;
    return "changed";
  }

  /**
   * Takes what was missed.
   *
   * @throws {HeadwaterError} `bad_patch` if it cannot be applied; then only a snapshot helps.
   */
  resume(frame: ResumeFrame): ReplicaOutcome {
    const current = this.#current;
    if (current?.epoch !== frame.epoch) return "gap";
    if (frame.version === current.version && frame.from === current.version) {
      return "ignored";
    }
    return this.#advance(frame.from, frame.version, frame.writer, frame.patch);
  }

  /**
   * Takes mutations.
   *
   * @throws {HeadwaterError} `bad_patch` if they cannot be applied; then only a snapshot helps.
   */
  patch(frame: PatchFrame): ReplicaOutcome {
    return this.#advance(frame.from, frame.version, frame.writer, frame.patch);
  }

  #isNews(current: Replicated, version: number, writer: string): boolean {
    if (version !== current.version) return version > current.version;
    return this.#isBroken || writer !== current.writer;
  }

  #advance(
    from: number,
    version: number,
    writer: string | undefined,
    patch: Patch,
  ): ReplicaOutcome {
    const current = this.#current;
    if (current === undefined || this.#isBroken) return "gap";
    if (version <= current.version) return "ignored";
    if (from !== current.version) return "gap";
    try {
      const state = applyPatch(current.state, patch, { freeze: true });
      this.#current = {
        epoch: current.epoch,
        version,
        writer: writer ?? current.writer,
        state,
      };
      return "changed";
    } catch (error) {
      // Both ends have the same version and yet another state: what follows would
      // make it worse, and a token would claim that all is well.
      this.#isBroken = true;
      throw error;
    }
  }
}
