/**
 * What can go wrong between a process and its KV, as knobs that may be turned at
 * any moment.
 *
 * @module
 */

import {
  addKnobs,
  CHANCE,
  CHANCE_OF_DELAY,
  DELAY,
  type Knob,
  oneOf,
  SWITCH,
} from "./knobs.ts";

/** How long something takes: any time from the first to the second number of milliseconds. */
export type KvDelay = readonly [minMs: number, maxMs: number];

/**
 * How watches behave:
 *
 * - `"prompt"`: each change is told after the latency.
 * - `"late"`: after `watchLateMs` beside that.
 * - `"dead"`: the first state is told, and then nothing.
 * - `"ends"`: at its next change a watch ends, or fails, instead of telling it.
 */
export type KvWatchMode = "prompt" | "late" | "dead" | "ends";

/**
 * What goes wrong between the servers and the KV. Each knob may be turned at any
 * moment; at first none is. Chances are from 0, never, to 1, always, and are drawn for
 * each operation: a read, one step of a range, a commit. A knob that is turned to what
 * it cannot be throws a RangeError.
 */
export interface KvFaults {
  /** How long a request travels to the KV, and again its answer back. */
  latencyMs: KvDelay;
  /** Some travel so much longer: a commit that its maker has given up lands later. */
  spike: { readonly chance: number; readonly ms: KvDelay };
  /** An operation throws `TypeError("database is locked")`, without effect. */
  locked: number;
  /** An operation throws that though it took effect. */
  lockedAfter: number;
  /** An operation throws, without effect: the connection was lost on the way there. */
  throwsBefore: number;
  /** An operation takes effect and throws: the connection was lost on the way back. */
  throwsAfter: number;
  /** A commit throws, and takes effect so much later all the same. */
  landsLate: { readonly chance: number; readonly ms: KvDelay };
  /**
   * An operation takes effect or not, and is not answered before
   * {@linkcode KvFaults.heal} is called or its server closes.
   */
  hangs: number;
  /**
   * The answer is lost and the driver sends the operation again without telling,
   * as KV Connect's does: a commit that took effect meets its own writes and
   * says `ok: false`. Not for servers with `isLocal`, which is the default.
   */
  resends: number;
  /** A commit that is on its way when its process crashes arrives nevertheless. */
  outlives: number;
  /** While it is true every operation throws, and watches are silent. */
  outage: boolean;
  /** How watches behave, by which servers learn early of what others wrote. */
  watch: KvWatchMode;
  /** How late `"late"` is. */
  watchLateMs: KvDelay;
  /** Whether a watch sees the commits of other servers; on a local file it does not. */
  isWatchShared: boolean;
  /**
   * Nothing goes wrong any more, for any server: what hangs is answered, what
   * watches have kept silent about is told. What is on its way stays so. Keeps
   * `isWatchShared`, which is a trait of the database, and no fault.
   */
  heal(): void;
}

/** The knobs alone; those of one handle stand above those of its database. */
export type KvFaultSettings = Omit<KvFaults, "heal">;

const NONE: Readonly<KvFaultSettings> = {
  latencyMs: [0, 0],
  spike: { chance: 0, ms: [0, 0] },
  locked: 0,
  lockedAfter: 0,
  throwsBefore: 0,
  throwsAfter: 0,
  landsLate: { chance: 0, ms: [0, 0] },
  hangs: 0,
  resends: 0,
  outlives: 0,
  outage: false,
  watch: "prompt",
  watchLateMs: [0, 3_000],
  isWatchShared: true,
};

const KNOBS: Readonly<Record<keyof KvFaultSettings, Knob>> = {
  latencyMs: DELAY,
  spike: CHANCE_OF_DELAY,
  locked: CHANCE,
  lockedAfter: CHANCE,
  throwsBefore: CHANCE,
  throwsAfter: CHANCE,
  landsLate: CHANCE_OF_DELAY,
  hangs: CHANCE,
  resends: CHANCE,
  outlives: CHANCE,
  outage: SWITCH,
  watch: oneOf("prompt", "late", "dead", "ends"),
  watchLateMs: DELAY,
  isWatchShared: SWITCH,
};

/** Knobs of a database by which nothing goes wrong yet; `onHeal` heals its handles. */
export function createKvFaults(onHeal: () => void): KvFaults {
  const faults: KvFaults = {
    ...NONE,
    heal() {
      Object.assign(faults, { ...NONE, isWatchShared: faults.isWatchShared });
      onHeal();
    },
  };
  return addKnobs(faults, KNOBS, "kv.faults");
}
