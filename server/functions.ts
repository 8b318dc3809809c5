/**
 * Functions: request and response. Here is what is defined; `calls.ts` runs it.
 *
 * @module
 */
import { HeadwaterError } from "../protocol/errors.ts";
import type { CallFrame } from "../protocol/frames.ts";
import type { CallContext, Caller } from "./call_context.ts";
import { answerCall, type FunctionsEnvironment } from "./calls.ts";
import { definedName } from "./defined_name.ts";
import { checkKinds, type Kind } from "./option_kinds.ts";
import type { Answer } from "./session.ts";

/**
 * Answers calls of one function. It may run again for a call whose answer was
 * lost: its store writes then apply once and give their first values, as long as
 * it makes the same writes in the same order.
 */
export type FunctionHandler<A, R> = (
  args: A,
  context: CallContext,
) => R | Promise<R>;

/** How a function is run. */
export interface FunctionOptions {
  /**
   * Keep each answer, so that the handler does not run again for a resent call. An
   * answer over 60 KiB cannot be kept: the caller gets a `limit` error in its place.
   */
  readonly once?: boolean;
}

const FUNCTION_OPTIONS: Readonly<Record<keyof FunctionOptions, Kind>> = {
  once: "boolean",
};

/** A function, as it was defined. */
export interface FunctionDefinition {
  readonly handler: FunctionHandler<unknown, unknown>;
  readonly once: boolean;
}

/** The functions of a server. */
export class Functions {
  readonly #definitions = new Map<string, FunctionDefinition>();
  readonly #nameLength: number;
  readonly #contract: readonly string[];

  /** No functions yet; `contract` has the names of those that there should be. */
  constructor(nameLength: number, contract: readonly string[] = []) {
    this.#nameLength = nameLength;
    this.#contract = contract;
  }

  /** Names of the contract that are not handled. */
  get missing(): readonly string[] {
    return this.#contract.filter((name) => !this.#definitions.has(name));
  }

  /** Defines a function. */
  define(
    name: string,
    handler: FunctionHandler<unknown, unknown>,
    options: FunctionOptions,
  ): void {
    const clean = definedName(name, "function", this.#nameLength);
    if (typeof handler !== "function") {
      throw new TypeError(
        `Cannot handle "${clean}": its handler is no function`,
      );
    }
    if (this.#definitions.has(clean)) {
      throw new TypeError(`Cannot handle "${clean}": it is handled already`);
    }
    checkKinds(`Cannot handle "${clean}"`, options, FUNCTION_OPTIONS);
    this.#definitions.set(clean, { handler, once: options.once ?? false });
  }

  /** The answer to a call; never rejects. */
  call(
    env: FunctionsEnvironment,
    caller: Caller,
    frame: CallFrame,
  ): Promise<Answer> {
    const { name } = frame;
    const definition = this.#definitions.get(name) ?? this.#missingError(name);
    return answerCall(env, { caller, frame, definition });
  }

  #missingError(name: string): HeadwaterError {
    const message = this.#contract.includes(name)
      ? `No function is named "${name}": the contract has it, but the server does not handle() it`
      : `No function is named "${name}"`;
    return new HeadwaterError("function_missing", message);
  }
}
