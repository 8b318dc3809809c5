/**
 * One change of a store, as its log keeps it.
 *
 * @module
 */
import type { Patch } from "../../protocol/patch.ts";
import { decodePatch, encodePatch } from "../../protocol/patch_codec.ts";
import type { Json } from "../../protocol/value.ts";
import { corrupt, text, uint } from "./record.ts";
import { type Refusal, refusalFromJson, refusalToJson } from "./refusal.ts";

/** Writes that one call may make to one store. */
export const WRITES_PER_CALL: number = 2 ** 20;

/** Which numbered write of a session a mutation is: the `n`-th of a call to this store. */
export interface Origin {
  readonly session: string;
  readonly issuedAtMs: number;
  readonly call: number;
  readonly n: number;
  /** Lowest call whose answer the client still awaited. */
  readonly oldest: number;
}

/** One mutation: one version. */
export interface Mutation {
  readonly patch: Patch;
  /** Client on whose behalf it was made. */
  readonly author?: string;
  /** Id of the user behind it; absent in what an earlier release wrote. */
  readonly userId?: string;
  readonly origin?: Origin;
  /** What the recipe returned, where it must be given again to a resent call. */
  readonly value?: Json;
  /** The recipe threw: the patch is empty, but the number is used up. */
  readonly refused?: Refusal;
  /** Whether the store counts as initialised afterwards; absent: as before. */
  readonly initialized?: boolean;
  /** The client that made it may have reckoned with another patch. */
  readonly isOpaque?: boolean;
  /** Which shape the state has afterwards; absent: as before. */
  readonly schema?: number;
}

/** A mutation as records hold it. */
export function mutationToJson(mutation: Mutation): Json {
  const { origin, author, userId, value, refused } = mutation;
  const { initialized, schema, isOpaque } = mutation;
  return {
    p: encodePatch(mutation.patch),
    ...(author !== undefined && { a: author }),
    ...(userId !== undefined && { u: userId }),
    ...(origin && {
      o: [
        origin.session,
        origin.issuedAtMs,
        origin.call,
        origin.n,
        origin.oldest,
      ],
    }),
    ...(value !== undefined && { r: value }),
    ...(refused !== undefined && { x: refusalToJson(refused) }),
    ...(initialized !== undefined && { i: initialized }),
    ...(schema !== undefined && { g: schema }),
    ...(isOpaque && { y: true }),
  };
}

/** The mutation that {@linkcode mutationToJson} wrote. */
export function mutationFromJson(
  r: { readonly [key: string]: Json },
): Mutation {
  const o = r["o"] as readonly Json[] | undefined;
  const x = r["x"];
  return {
    patch: patchFromJson(r["p"]),
    ...(r["a"] !== undefined && { author: text(r["a"]) }),
    ...(r["u"] !== undefined && { userId: text(r["u"]) }),
    ...(o && { origin: originFromJson(o) }),
    ...(r["r"] !== undefined && { value: r["r"] }),
    ...(r["i"] !== undefined && { initialized: r["i"] === true }),
    ...(r["g"] !== undefined && { schema: uint(r["g"]) }),
    ...(r["y"] === true && { isOpaque: true }),
    ...(x !== undefined && { refused: refusalFromJson(x) }),
  };
}

function patchFromJson(json: Json | undefined): Patch {
  try {
    return decodePatch(json);
  } catch (error) {
    throw corrupt("log entry", error);
  }
}

function originFromJson(o: readonly Json[]): Origin {
  const n = uint(o[3]);
  // The numbers of a call lie in an array: one that is absurd would make it fill the memory.
  if (n >= WRITES_PER_CALL) throw corrupt("log entry");
  return {
    session: text(o[0]),
    issuedAtMs: uint(o[1]),
    call: uint(o[2]),
    n,
    oldest: uint(o[4]),
  };
}
