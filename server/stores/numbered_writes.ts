/**
 * The writes of a call to stores: each has a number, by which it applies once however often
 * the call is resent, and is noted for the call's answer.
 *
 * @module
 */
import {
  type ErrorCode,
  HeadwaterError,
  LimitError,
} from "../../protocol/errors.ts";
import type { CallScope, CallScopes } from "../call_scope.ts";
import type { StoreId } from "../log/keys.ts";
import type { MutationSource, Settled, Written } from "./change.ts";
import { repeat } from "./refused_write.ts";
import type { StoreRegistry } from "./registry.ts";
import type { Store } from "./store.ts";
import { SERVER_WRITER } from "./writer.ts";

/** Errors of a write that was not made now, whatever became of it before. */
export const NOT_NOW: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "unavailable",
  "closed",
  "store_deleted",
  "store_unreadable",
]);

/** See the module's documentation. */
export class NumberedWrites {
  readonly #registry: () => Promise<StoreRegistry>;
  readonly #scopes: CallScopes;

  /** The writes of whatever call is current in `scopes`. */
  constructor(
    { registry, scopes }: {
      registry: () => Promise<StoreRegistry>;
      scopes: CallScopes;
    },
  ) {
    this.#registry = registry;
    this.#scopes = scopes;
  }

  /** Who writes to the store now, and the number of that write. */
  source(id: StoreId): { scope?: CallScope; source: MutationSource } {
    const scope = this.#scopes.current();
    if (!scope) return { source: { writer: SERVER_WRITER } };
    const { writer, isResent } = scope;
    return {
      scope,
      source: { origin: scope.nextOrigin(id), writer, isResent },
    };
  }

  /** Runs `write`, unless the call has made that write to a life of the store that has ended. */
  async once<W>(
    id: StoreId,
    source: MutationSource,
    write: () => Promise<W>,
  ): Promise<W | Written> {
    try {
      // Asked first: opening the store could begin another life of it.
      return await this.madeBefore(id, source) ?? await write();
    } catch (error) {
      throw source.isResent ? inDoubt(error) : error;
    }
  }

  /** What a write gave that was made to a life of the store which has ended. */
  async madeBefore(
    id: StoreId,
    { origin, isResent }: MutationSource,
  ): Promise<Settled | undefined> {
    if (!isResent || !origin) return undefined;
    const recorded = await (await this.#registry()).findPast(id, origin);
    if (!recorded) return undefined;
    const known = repeat(recorded);
    if ("error" in known) throw known.error;
    this.#scopes.current()?.wrotePast(id);
    return known.written;
  }

  /** What is told where several writes of a call were not made together. */
  notMade(error: unknown): unknown {
    return this.#scopes.current()?.isResent ? inDoubt(error) : error;
  }
}

/** The caller's subscriptions have to show it before there is an answer. */
export function noteWritten(
  scope: CallScope | undefined,
  { id, epoch }: Pick<Store, "epoch" | "id">,
  { version, isPast }: Settled,
): void {
  if (isPast) scope?.wrotePast(id);
  else scope?.wrote({ id, epoch, version });
}

/** A write of a call that is run again may have been made the first time, though not now. */
function inDoubt(error: unknown): unknown {
  if (!(error instanceof HeadwaterError)) return error;
  const { code, message, path, data, outcome } = error;
  const isRecorded = !NOT_NOW.has(code) && !(error instanceof LimitError);
  if (outcome !== "notApplied" || isRecorded) return error;
  const options = { path, data, cause: error, outcome: "unknown" } as const;
  return new HeadwaterError(code, message, options);
}
