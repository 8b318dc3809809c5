/**
 * Asks the rules of stores who may read and write them. Nothing but true lets anybody in;
 * whatever is wrong with a rule concerns its author, and not the client.
 *
 * @module
 */
import { type ErrorBody, HeadwaterError } from "../protocol/errors.ts";
import { shown } from "../protocol/shown.ts";
import type { Failures } from "./failures.ts";
import type { Logger } from "./logger.ts";
import type { StoreDefinition } from "./stores/definition.ts";
import type { AccessContext } from "./stores/writer.ts";

/** What a rule is about. */
export type RuleName = "read" | "write";

/** What asking needs. */
export interface StoreRulesOptions {
  readonly failures: Failures;
  readonly logger: Logger;
}

const ACTIONS: Readonly<Record<RuleName, string>> = {
  read: "subscribe",
  write: "write",
};

/** See the module's documentation. */
export class StoreRules {
  readonly #options: StoreRulesOptions;
  /** Rules whose authors were told: a promise would be refused again and again. */
  readonly #told = new WeakMap<StoreDefinition, Set<RuleName>>();

  /** Nobody has asked yet. */
  constructor(options: StoreRulesOptions) {
    this.#options = options;
  }

  /** Why who asks may not do that with a store of the definition; undefined where it may. */
  refusal(
    definition: StoreDefinition,
    rule: RuleName,
    context: AccessContext,
  ): ErrorBody | undefined {
    const { name, clientId } = context;
    const given = definition[rule];
    if (given === true) return undefined;
    const action = `Cannot ${ACTIONS[rule]} to store "${name}"`;
    const refused: ErrorBody = {
      code: "forbidden",
      message: `${action}: this client may not`,
    };
    if (typeof given !== "function") {
      if (rule === "read") return refused;
      if (given === undefined) {
        this.#options.logger.debug(
          "A write of client {clientId} to store {name} was refused: its createStore() has no write option, and clients may not write by default",
          { clientId, name },
        );
      }
      return {
        ...refused,
        message: `${action}: clients may not write to it`,
      };
    }
    const what = `The rule of who may ${rule} store "${name}"`;
    try {
      const answer: unknown = given(context);
      if (answer === true) return undefined;
      if (answer) this.#tell(definition, rule, { answer, what, clientId });
      return refused;
    } catch (error) {
      const about = { code: "forbidden", what, clientId } as const;
      const body = this.#options.failures.tell(error, about);
      // What else went wrong, its message is not for clients.
      const isMeant = error instanceof HeadwaterError;
      const { message } = isMeant ? body : refused;
      return { ...body, code: "forbidden", message };
    }
  }

  /** Tells the author of a rule, once, that it says neither yes nor no. */
  #tell(
    definition: StoreDefinition,
    rule: RuleName,
    { answer, what, clientId }: {
      answer: unknown;
      what: string;
      clientId: string;
    },
  ): void {
    const isPromise = typeof answer === "object" && answer !== null &&
      "then" in answer;
    // Nobody waits for it: what it may reject with is not an unhandled rejection.
    if (answer instanceof Promise) answer.catch(() => {});
    const told = this.#told.get(definition) ?? new Set();
    if (told.has(rule)) return;
    this.#told.set(definition, told.add(rule));
    const reason = isPromise
      ? `the "${rule}" rule of store "${definition.pattern}" has returned a promise: a rule must be synchronous`
      : `the "${rule}" rule of store "${definition.pattern}" has returned ${
        shown(answer)
      }: only true lets a client in`;
    const error = new TypeError(`Refused, since ${reason}`);
    this.#options.failures.tell(error, { code: "forbidden", what, clientId });
  }
}
