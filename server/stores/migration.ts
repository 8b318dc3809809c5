/**
 * Brings the state of a store into the shape that its definition gives it now.
 *
 * @module
 */
import { diffStates } from "../../protocol/diff.ts";
import { HeadwaterError } from "../../protocol/errors.ts";
import { applyPatch } from "../../protocol/patch.ts";
import { cleanValue, type Json } from "../../protocol/value.ts";
import type { Change, Changer } from "./change.ts";
import type { StoreDefinition } from "./definition.ts";
import { shareEqual } from "./restore.ts";
import { QuotingError } from "./quoting_error.ts";
import { fitState, toState } from "./state.ts";
import type { Store } from "./store.ts";

/**
 * Brings a store that was just loaded into its present shape; false where it was
 * deleted meanwhile.
 *
 * @throws {HeadwaterError} `store_unreadable` if it cannot be migrated, or a newer
 * server has given it a shape that this one does not know.
 */
export async function migrate(
  store: Store,
  definition: StoreDefinition,
): Promise<boolean> {
  const { id: { name }, schema: stored } = store;
  const { version: known } = definition;
  if (stored === known) return true;
  if (stored > known) throw shapeError(name, { stored, known });
  try {
    await store.mutate(migration(definition, name));
    return true;
  } catch (error) {
    if (store.ended?.code === "store_deleted") return false;
    // Nobody holds it: what goes on in it would outlive the server.
    await store.close();
    throw error;
  }
}

/** The change by which the store `name` gets its present shape; none where it has it by now. */
function migration(definition: StoreDefinition, name: string): Changer {
  const { version } = definition;
  return (state, { schema: from }) => {
    const none: Change = { state, patch: [], value: undefined };
    // Another server was quicker.
    if (from >= version) return none;
    try {
      const what = `migrated state of store "${name}"`;
      const migrated = migratedState(definition, state, { from, what });
      const patch = diffStates(state, shareEqual(state, migrated), what);
      const next = applyPatch(state, patch, { freeze: true });
      return { state: next, patch, value: undefined, schema: version };
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new QuotingError(
        "store_unreadable",
        `Cannot migrate store "${name}" from version ${from} to ${version}: ${reason}`,
        {
          shown:
            `Cannot use store "${name}": its stored state does not fit the contract`,
          cause,
          path: cause instanceof HeadwaterError ? cause.path : undefined,
        },
      );
    }
  };
}

/** The error for a state of another shape than the one that a server knows. */
export function shapeError(
  name: string,
  { stored, known }: { stored: number; known: number },
): HeadwaterError {
  const message =
    `Cannot use store "${name}": it is stored with version ${stored}, and here its version is ${known}`;
  return new HeadwaterError("store_unreadable", message, {
    outcome: "notApplied",
  });
}

function migratedState(
  { rules }: StoreDefinition,
  state: Json,
  { from, what }: { from: number; what: string },
): Json {
  if (!rules.migrate) throw new TypeError("its definition has no migrate()");
  // A copy: it may be changed in place.
  const returned: unknown = rules.migrate(cleanValue(state), from);
  if (returned instanceof Promise) {
    returned.catch(() => {});
    throw new TypeError("migrate() must not be asynchronous");
  }
  const migrated = toState(returned, what);
  return rules.schema ? fitState(rules.schema, migrated, what) : migrated;
}
