/**
 * The writes of clients: from a frame to a commit, and to an answer.
 *
 * @module
 */
import { encodeFrame } from "../protocol/codec.ts";
import type { AnyMutator, MutatorContext } from "../protocol/contract.ts";
import { toErrorBody } from "../protocol/error_body.ts";
import { type ErrorCode, HeadwaterError } from "../protocol/errors.ts";
import type {
  ClientWrite,
  MutateFrame,
  MutatorWrite,
} from "../protocol/frames.ts";
import { validate } from "../protocol/schema.ts";
import type { Json } from "../protocol/value.ts";
import { timeOfCall } from "./call_time.ts";
import type { WrittenTo } from "./log/answers.ts";
import type { StoreId } from "./log/keys.ts";
import type { Origin } from "./log/mutation.ts";
import type { Clock } from "./ports.ts";
import type { Answer, Session } from "./session.ts";
import type { StoreAccess } from "./stores/access.ts";
import { NOT_NOW } from "./stores/numbered_writes.ts";
import { mutatorChange, patchChange } from "./stores/client_changes.ts";
import type { Changer, MutationSource } from "./stores/change.ts";
import type { StoreRules } from "./store_rules.ts";
import type { StoreDefinition } from "./stores/definition.ts";
import type { Definitions } from "./stores/definitions.ts";
import type { StoreRegistry } from "./stores/registry.ts";

/** What writes are made with, once the server has opened its KV. */
export interface WritesEnvironment {
  readonly clock: Clock;
  readonly stores: StoreRegistry;
  readonly namespace: string;
}

/** Who writes. */
export interface WritingClient {
  readonly session: Session;
  /** The user behind the client; null for nobody. */
  readonly user: Json;
}

/** What the writes of a server are made of. */
export interface WritesOptions {
  readonly definitions: Definitions;
  readonly access: StoreAccess;
  readonly rules: StoreRules;
  readonly mutators: Readonly<Record<string, AnyMutator>>;
}

/** One write of a frame, ready to be committed. */
interface Part {
  readonly id: StoreId;
  readonly change: Changer;
  readonly source: MutationSource;
}

interface Result {
  readonly value?: Json;
  readonly error?: unknown;
  readonly written: readonly WrittenTo[];
}

/** Errors after which the number of a write is free: the client sends it again, changed. */
const FREE: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["rebase"]);

/** See the module's documentation. */
export class Writes {
  readonly #options: WritesOptions;
  /** When the writes of a session so far all have their places: they are made in order. */
  readonly #queued = new WeakMap<Session, Promise<void>>();

  /** Writes to the stores of a server. */
  constructor(options: WritesOptions) {
    this.#options = options;
  }

  /** The answer to a frame of writes; never rejects. */
  async write(
    env: WritesEnvironment,
    client: WritingClient,
    frame: MutateFrame,
  ): Promise<Answer> {
    const { session } = client;
    const ask = () =>
      session.answer(
        frame.id,
        frame.oldest,
        () => this.#answer(env, client, frame),
      );
    let answer = await ask();
    // Another server may have made it since the run that this one has begun.
    while (frame.resent && answer.isUnrecorded) answer = await ask();
    const { doubtful = answer.frame } = answer;
    return frame.resent ? { ...answer, frame: doubtful } : answer;
  }

  async #answer(
    env: WritesEnvironment,
    client: WritingClient,
    frame: MutateFrame,
  ): Promise<Answer> {
    const { value, error, written } = await this.#inOrder(
      client.session,
      (queued) => this.#run(env, client, { frame, queued }),
    );
    const { id } = frame;
    if (error === undefined) {
      const answer = encodeFrame({ type: "res", id, value: value ?? null });
      return { frame: answer, written };
    }
    const body = toErrorBody(error, "refused");
    const encode = (outcome: "notApplied" | "unknown") =>
      encodeFrame({ type: "res", id, error: { ...body, outcome } });
    const { outcome = "notApplied", code } = body;
    const isUnrecorded = !frame.resent && outcome === "notApplied" &&
      !NOT_NOW.has(code);
    return {
      frame: encode(outcome === "unknown" ? "unknown" : "notApplied"),
      written,
      ...((FREE.has(code) || isUnrecorded) && { isFree: true }),
      ...(isUnrecorded && { isUnrecorded }),
      // What is refused now may have been made by another server.
      ...(NOT_NOW.has(code) && { doubtful: encode("unknown") }),
      ...(code === "forbidden" && { doubtful: encode("unknown") }),
    };
  }

  /** Runs a write once those before it have their places in the queues of their stores. */
  async #inOrder(
    session: Session,
    run: (queued: () => void) => Promise<Result>,
  ): Promise<Result> {
    const before = this.#queued.get(session);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#queued.set(session, promise);
    await before;
    return await run(resolve).finally(resolve);
  }

  async #run(
    env: WritesEnvironment,
    client: WritingClient,
    { frame, queued }: { frame: MutateFrame; queued: () => void },
  ): Promise<Result> {
    let parts: Part[] = [];
    try {
      parts = this.#toParts(env, client, frame);
      const [part, ...others] = parts;
      const written = part && others.length === 0
        ? [await this.#commit(part, queued)]
        : await this.#commitTogether(env, parts);
      const value = written.map(({ id, version }) => [id.name, version]);
      return { value, written };
    } catch (error) {
      const isBehind = error instanceof HeadwaterError &&
        (error.code === "rebase" || error.code === "conflict");
      // Told when the client has seen what it has not reckoned with.
      const written = isBehind ? this.#positionsOf(parts) : [];
      return { error, written };
    }
  }

  async #commit(
    { id, change, source }: Part,
    queued: () => void,
  ): Promise<WrittenTo> {
    const { access } = this.#options;
    const { version, epoch = "", isPast } = await access.write(id, change, {
      source,
      queued,
    });
    return toWritten(id, { version, epoch, isPast });
  }

  async #commitTogether(
    { stores }: WritesEnvironment,
    parts: readonly Part[],
  ): Promise<WrittenTo[]> {
    const made = await stores.commitTogether(parts);
    return made.map((written) => toWritten(written.id, written));
  }

  #positionsOf(parts: readonly Part[]): WrittenTo[] {
    const { access } = this.#options;
    return parts.flatMap(({ id }) => {
      const store = access.loaded(id.name);
      return store ? [{ id, epoch: store.epoch, version: store.version }] : [];
    });
  }

  #toParts(
    env: WritesEnvironment,
    client: WritingClient,
    frame: MutateFrame,
  ): Part[] {
    const counts = new Map<string, number>();
    return frame.writes.map((write) => {
      const n = counts.get(write.name) ?? 0;
      counts.set(write.name, n + 1);
      return this.#toPart(env, client, { frame, write, n });
    });
  }

  #toPart(
    { clock, namespace }: WritesEnvironment,
    { session, user }: WritingClient,
    { frame, write, n }: { frame: MutateFrame; write: ClientWrite; n: number },
  ): Part {
    const { name } = write;
    const definition = this.#definitionOf(name);
    const { clientId } = session;
    const key = definition.keyOf(name) ?? null;
    const context = { user, clientId, namespace, name, key };
    const refusal = this.#options.rules.refusal(definition, "write", context);
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
    return {
      id: { namespace, name },
      change: "patch" in write ? patchChange(write, terms) : mutatorChange(
        write,
        terms,
        {
          ...this.#mutatorOf(write, definition),
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

  #definitionOf(name: string): StoreDefinition {
    const definition = this.#options.definitions.find(name);
    if (definition) return definition;
    throw new HeadwaterError(
      "store_missing",
      `No store is defined for the name "${name}"`,
      { outcome: "notApplied" },
    );
  }

  #mutatorOf(
    { mutator: name, args, name: store }: MutatorWrite,
    definition: StoreDefinition,
  ): { mutator: AnyMutator; args: unknown } {
    const { mutators } = this.#options;
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
}

/** A write to a life of the store that has ended is shown by whatever shows the next. */
function toWritten(
  id: StoreId,
  { version, epoch, isPast }: {
    version: number;
    epoch: string;
    isPast?: boolean | undefined;
  },
): WrittenTo {
  return isPast ? { id, epoch: "", version: 0 } : { id, epoch, version };
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
