/**
 * The writes of clients: from a frame to a commit, and to an answer.
 *
 * @module
 */
import { encodeFrame } from "../protocol/codec.ts";
import {
  type ErrorBody,
  type ErrorCode,
  HeadwaterError,
} from "../protocol/errors.ts";
import type { MutateFrame } from "../protocol/frames.ts";
import type { Json } from "../protocol/value.ts";
import type { Failures } from "./failures.ts";
import type { WrittenTo } from "./log/answers.ts";
import type { StoreId } from "./log/keys.ts";
import type { Answer, Session } from "./session.ts";
import type { StoreAccess } from "./stores/access.ts";
import { NOT_NOW } from "./stores/numbered_writes.ts";
import { quote } from "./stores/quoting_error.ts";
import type { StoreRegistry } from "./stores/registry.ts";
import {
  type Part,
  type PartsOptions,
  toParts,
  type WritingClient,
} from "./write_parts.ts";

/** What writes are made with, once the server has opened its KV. */
export interface WritesEnvironment
  extends Pick<PartsOptions, "clock" | "namespace"> {
  readonly stores: StoreRegistry;
  readonly failures: Failures;
}

/** What the writes of a server are made of. */
export interface WritesOptions
  extends Pick<PartsOptions, "definitions" | "rules" | "mutators"> {
  readonly access: StoreAccess;
}

interface Result {
  readonly value?: Json;
  readonly error?: unknown;
  readonly written: readonly WrittenTo[];
}

/** Errors after which the number of a write is free: the client sends it again, changed. */
const FREE: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["rebase"]);

/** Errors of what a write does to a state, which say where in it. */
const OF_STATE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "bad_value",
  "bad_patch",
]);

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
    const body = this.#explain(env, client, { frame, error });
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

  /** What the client is told where its writes were not made. */
  #explain(
    { failures }: WritesEnvironment,
    { session: { clientId } }: WritingClient,
    { frame, error }: { frame: MutateFrame; error: unknown },
  ): ErrorBody {
    const { definitions } = this.#options;
    const names = [...new Set(frame.writes.map(({ name }) => name))];
    const what = `A write to ${
      names.map((name) => `store "${name}"`).join(", ")
    }`;
    // What threw was told what the state has, which the client may not see.
    const isHidden = names.some((name) => definitions.find(name)?.view);
    const isOfState = error instanceof HeadwaterError &&
      OF_STATE.has(error.code);
    return failures.explain(
      isHidden && isOfState ? quote(error, `${what} failed`) : error,
      { code: "refused", what, clientId, isHidden },
    );
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
      parts = toParts({ ...this.#options, ...env }, { client, frame });
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
    { id, change, source, life }: Part,
    queued: () => void,
  ): Promise<WrittenTo> {
    const { access } = this.#options;
    const { version, epoch = "", isPast } = await access.write(id, change, {
      source,
      life,
      queued,
    });
    return toWritten(id, { version, epoch, isPast });
  }

  async #commitTogether(
    { stores }: WritesEnvironment,
    parts: readonly Part[],
  ): Promise<WrittenTo[]> {
    const { access } = this.#options;
    const lives = parts.flatMap(({ id, life }) =>
      life === undefined ? [] : [{ id, life }]
    );
    const open = async (id: StoreId) => {
      // Before any other store begins a life for what will be refused.
      await Promise.all(lives.map(({ id, life }) => access.openLife(id, life)));
      return await stores.open(id);
    };
    const made = await stores.commitTogether(parts, open);
    return made.map((written) => toWritten(written.id, written));
  }

  #positionsOf(parts: readonly Part[]): WrittenTo[] {
    const { access } = this.#options;
    return parts.flatMap(({ id }) => {
      const store = access.loaded(id.name);
      return store ? [{ id, epoch: store.epoch, version: store.version }] : [];
    });
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
