/**
 * What a definition is told when subscribers of one of its stores have left.
 *
 * @module
 */
import { HeadwaterError } from "../../protocol/errors.ts";
import type { CallScopes } from "../call_scope.ts";
import { Errand } from "../errand.ts";
import type { StoreId } from "../log/keys.ts";
import type { Head } from "../log/head.ts";
import type { StoreDefinition } from "./definition.ts";
import { hookError } from "./hooks.ts";

/** Whom to tell of what. */
export interface Departures {
  readonly id: StoreId;
  readonly definition: StoreDefinition;
  /** How many have left, one after the other. */
  readonly left: number;
  /** How many remain when they have. */
  readonly remaining: number;
  /** Whether the last of all has left, and nobody has come back. */
  readonly isIdle: boolean;
  /** The life that they have left. */
  readonly head: Head;
}

/** What telling needs. */
export interface DeparturesEnvironment {
  readonly scopes: CallScopes;
  readonly onError: (error: unknown, id: StoreId) => void;
  /** Ends that life of the store. */
  readonly destroy: (id: StoreId, epoch: string) => Promise<void>;
}

/** Whether the head is of that life, or of one that took it over. */
export function isLife(head: Head | undefined, epoch: string): boolean {
  return head?.epoch === epoch || head?.mintedFrom === epoch;
}

/**
 * Tells of departures. Hooks that throw are reported.
 *
 * @throws {HeadwaterError} if the store could not be ended as it was to be.
 */
export async function tellDepartures(
  env: DeparturesEnvironment,
  departures: Departures,
): Promise<void> {
  const { id, definition, isIdle, head } = departures;
  if (await mayDestroy(env, departures)) {
    return await env.destroy(id, head.epoch).catch(forgiveGone);
  }
  const hook = definition.onIdle;
  if (!isIdle || !hook) return;
  const key = definition.keyOf(id.name) ?? null;
  try {
    const errand = new Errand(`onIdle of store "${id.name}"`);
    await env.scopes.runErrand(errand, () => hook(key));
  } catch (error) {
    env.onError(hookError("onIdle", id, error), id);
  }
}

async function mayDestroy(
  env: DeparturesEnvironment,
  { id, definition, left, remaining, head }: Departures,
): Promise<boolean> {
  const ask = definition.selfDestruct;
  if (!ask) return false;
  const createdAtMs = head.createdAtMs ?? head.timeMs;
  for (let more = left - 1; more >= 0; more--) {
    try {
      const clients = remaining + more;
      const errand = new Errand(`selfDestruct of store "${id.name}"`);
      const answer = await env.scopes.runErrand(
        errand,
        () => ask(clients, new Date(createdAtMs)),
      );
      if (answer === true) return true;
    } catch (error) {
      env.onError(hookError("selfDestruct", id, error), id);
    }
  }
  return false;
}

/** Somebody else was quicker. */
function forgiveGone(error: unknown): void {
  const isGone = error instanceof HeadwaterError &&
    error.code === "store_deleted";
  if (!isGone) throw error;
}
