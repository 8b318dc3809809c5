/**
 * Runs the changes of a transaction on working copies of its stores, and makes of that what
 * is to be committed.
 *
 * @module
 */
import { LimitError } from "../../protocol/errors.ts";
import type { StoreCommit } from "../log/commit.ts";
import type { Refusal } from "../log/refusal.ts";
import type { Batch } from "./batch.ts";
import type { Settled } from "./change.ts";
import type { HeldStore } from "./held_store.ts";
import { type JointPart, TRANSACTION_BYTES } from "./joint_part.ts";
import { type Seat, seatOf } from "./joint_seats.ts";
import { toRefusal } from "./refused_write.ts";

/** What is to be committed to one store. */
export interface SeatCommit {
  readonly held: HeldStore;
  readonly batch: Batch;
  readonly commit: StoreCommit;
}

/** What a run of all changes gave. */
export interface Run {
  readonly commits: readonly SeatCommit[];
  /** Of each change. */
  readonly written: readonly Settled[];
  /** Why there is nothing but that to be remembered. */
  readonly refusal?: { readonly error: unknown };
}

/** Runs all changes; where one is refused, what is to be remembered of that. */
export function runParts(
  seats: readonly Seat[],
  parts: readonly JointPart[],
  { recipeValueBytes }: { recipeValueBytes: number },
): Run {
  const batches = runAll(seats, parts);
  const written: Settled[] = [];
  for (const part of parts) {
    const seat = seatOf(seats, part.id);
    const { outcomes, mutations } = batches.get(seat)!; // of every seat
    const outcome = outcomes[seat.parts.indexOf(part)]!; // of every part
    if ("written" in outcome) {
      written.push(outcome.written);
      continue;
    }
    const { error } = outcome;
    const { origin } = part.source;
    const refused = mutations.find((mutation) =>
      mutation.refused && mutation.origin === origin
    )?.refused;
    return refuseAll(seats, parts, { error, refused });
  }
  const commits = toCommits(batches);
  const bytes = commits.reduce(
    (sum, { commit }) => sum + (commit.entryBytes?.byteLength ?? 0),
    0,
  );
  if (bytes <= TRANSACTION_BYTES) return { commits, written };
  const error = new LimitError(
    "commit a transaction",
    "transactionBytes",
    TRANSACTION_BYTES,
    bytes,
  );
  const refused = toRefusal(error, recipeValueBytes);
  return refuseAll(seats, parts, { error, refused });
}

/** Nothing but a refusal, remembered for the first change, by which a run that is repeated finds it. */
function refuseAll(
  seats: readonly Seat[],
  [first]: readonly JointPart[],
  { error, refused }: { error: unknown; refused: Refusal | undefined },
): Run {
  const { origin, forgetsRefusal } = first!.source; // there is at least one
  if (!origin || !refused || forgetsRefusal) throw error;
  const record = { patch: [], origin, refused };
  const batches = new Map(seats.map((seat) => {
    const isFirst = seat.parts.includes(first!);
    return [seat, seat.store.held.record(isFirst ? [record] : [])];
  }));
  return { commits: toCommits(batches), written: [], refusal: { error } };
}

/** Runs the changes in their order, each on the working copy of its store. */
function runAll(
  seats: readonly Seat[],
  parts: readonly JointPart[],
): Map<Seat, Batch> {
  const batches = new Map<Seat, Batch>();
  const runs = new Map(
    seats.map((seat) => [seat, seat.store.held.run(seat.parts)]),
  );
  const step = (seat: Seat) => {
    const { done, value } = runs.get(seat)!.next(); // of every seat
    if (done && value) batches.set(seat, value);
  };
  for (const seat of seats) step(seat);
  for (const { id } of parts) step(seatOf(seats, id));
  return batches;
}

function toCommits(batches: ReadonlyMap<Seat, Batch>): SeatCommit[] {
  const together = [...batches].flatMap(([{ store }, { mutations }]) => {
    const { id: { name }, epoch, version } = store;
    if (mutations.length === 0) return [];
    return [{ name, epoch, version: version + mutations.length }];
  });
  const others = together.length > 1 ? together : undefined;
  return [...batches].map(([{ store: { held } }, batch]) => ({
    held,
    batch,
    commit: held.prepare(batch, others),
  }));
}

/** One store that is left as it is needs no KV, as with a single change that changes nothing. */
export function isWorthChecking(commits: readonly SeatCommit[]): boolean {
  return commits.length > 1 ||
    commits.some(({ commit }) => !commit.isCheckOnly);
}
