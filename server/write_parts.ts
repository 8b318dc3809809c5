/**
 * The writes of a client's frame, as what the stores are asked for.
 *
 * @module
 */
import type { AnyMutator, MutatorContext } from "../protocol/contract.ts";
import { HeadwaterError } from "../protocol/errors.ts";
import type {
  ClientWrite,
  MutateFrame,
  MutatorWrite,
} from "../protocol/frames.ts";
import { validate } from "../protocol/schema.ts";
import type { Json } from "../protocol/value.ts";
import { timeOfCall } from "./call_time.ts";
import type { StoreId } from "./log/keys.ts";
import type { Origin } from "./log/mutation.ts";
import type { Clock } from "./ports.ts";
import type { Session } from "./session.ts";
import type { StoreRules } from "./store_rules.ts";
import type { Changer, MutationSource } from "./stores/change.ts";
import { mutatorChange, patchChange } from "./stores/client_changes.ts";
import type { StoreDefinition } from "./stores/definition.ts";
import type { Definitions } from "./stores/definitions.ts";

/** What the writes of a frame are made with. */
export interface PartsOptions {
  readonly clock: Clock;
  readonly namespace: string;
  readonly definitions: Definitions;
  readonly rules: StoreRules;
  readonly mutators: Readonly<Record<string, AnyMutator>>;
}

/** Who writes. */
export interface WritingClient {
  readonly session: Session;
  /** The user behind the client; null for nobody. */
  readonly user: Json;
}

/** One write of a frame, ready to be committed. */
export interface Part {
  readonly id: StoreId;
  readonly change: Changer;
  readonly source: MutationSource;
  /** The life of the store that it means; undefined: any, and the next where there is none. */
  readonly life: string | undefined;
}

/**
 * The writes of a frame.
 *
 * @throws {HeadwaterError} where one of them is refused before it is tried.
 */
export function toParts(
  options: PartsOptions,
  { client, frame }: { client: WritingClient; frame: MutateFrame },
): Part[] {
  const counts = new Map<string, number>();
  return frame.writes.map((write) => {
    const n = counts.get(write.name) ?? 0;
    counts.set(write.name, n + 1);
    return toPart(options, { client, frame, write, n });
  });
}

function toPart(
  { clock, namespace, ...options }: PartsOptions,
  { client: { session, user }, frame, write, n }: {
    client: WritingClient;
    frame: MutateFrame;
    write: ClientWrite;
    n: number;
  },
): Part {
  const { name } = write;
  const definition = definitionOf(options, name);
  const { clientId } = session;
  const key = definition.keyOf(name) ?? null;
  const context = { user, clientId, namespace, name, key };
  const refusal = options.rules.refusal(definition, "write", context);
  if (refusal) {
    throw HeadwaterError.fromBody({ ...refusal, outcome: "notApplied" });
  }
  if ("patch" in write && definition.view) {
    throw new HeadwaterError(
      "refused",
      `Cannot write to store "${name}" by a patch: it shows views, which patches do not fit; use a mutator`,
      { outcome: "notApplied" },
    );
  }
  const origin: Origin = {
    session: session.id,
    issuedAtMs: session.issuedAtMs,
    call: frame.id,
    n,
    oldest: Math.min(frame.oldest, session.oldestRunning),
  };
  const terms = { origin, isExact: frame.exact === true };
  const { resent: isResent = false } = frame;
  // A mutator runs on whatever there is, unless nobody else may have written.
  const meansLife = "patch" in write || frame.exact === true;
  return {
    id: { namespace, name },
    life: meansLife && write.epoch !== "" ? write.epoch : undefined,
    change: "patch" in write ? patchChange(write, terms) : mutatorChange(
      write,
      terms,
      {
        ...mutatorOf(options, { write, definition }),
        context: contextMaker({
          clientId,
          user,
          now: timeOfCall(session, frame.elapsedMs, clock),
          seed: write.seed,
        }),
      },
    ),
    source: {
      origin,
      writer: { clientId, user },
      isResent,
      // Only a write that was sent before can be with another server, which might make it yet.
      forgetsRefusal: !isResent,
    },
  };
}

function definitionOf(
  { definitions }: Pick<PartsOptions, "definitions">,
  name: string,
): StoreDefinition {
  const definition = definitions.find(name);
  if (definition) return definition;
  throw definitions.missingError(name);
}

function mutatorOf(
  { mutators }: Pick<PartsOptions, "mutators">,
  { write: { mutator: name, args, name: store }, definition }: {
    write: MutatorWrite;
    definition: StoreDefinition;
  },
): { mutator: AnyMutator; args: unknown } {
  const mutator = Object.hasOwn(mutators, name) ? mutators[name] : undefined;
  if (!mutator || mutator.store !== definition.pattern) {
    throw new HeadwaterError(
      "function_missing",
      `No mutator of store "${store}" is named "${name}"`,
      { outcome: "notApplied" },
    );
  }
  const what = `the arguments of mutator "${name}"`;
  return {
    mutator,
    args: mutator.args ? validate(mutator.args, args, what) : args,
  };
}

/** What a mutator's run is told: the same in each, and on the client's end. */
function contextMaker(
  { seed, ...about }: Omit<MutatorContext, "id"> & { readonly seed: string },
): () => MutatorContext {
  return () => {
    let ids = 0;
    return { ...about, id: () => `${seed}-${ids++}` };
  };
}
