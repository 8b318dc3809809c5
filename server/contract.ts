/**
 * What the server holds its application to, where that has a contract.
 *
 * @module
 */
import { checkFunction } from "../protocol/shown.ts";
import type { App, StateRules, StoreContract } from "../protocol/contract.ts";
import { validate } from "../protocol/schema.ts";
import type { FunctionHandler } from "./functions.ts";

/**
 * The contract of the store `name`; undefined where the contract is silent about stores.
 *
 * @throws {TypeError} if the contract has stores, but none of that name.
 */
export function storeContract(
  app: App | undefined,
  name: string,
): StoreContract | undefined {
  return find(app?.stores, name, `create store "${name}"`);
}

/** What a contract says of the states of a store, without the first of them. */
export function rulesOf(
  { schema, version, migrate }: StoreContract,
): StateRules {
  return { schema, version, ...(migrate && { migrate }) };
}

/**
 * A handler that gets what the schema of the function's arguments makes of them,
 * and whose result is what the schema of the result makes of that.
 *
 * @throws {TypeError} if the contract has functions, but none of that name.
 */
export function checkedHandler(
  app: App | undefined,
  name: string,
  handler: FunctionHandler<unknown, unknown>,
): FunctionHandler<unknown, unknown> {
  const contract = find(app?.functions, name, `handle "${name}"`);
  if (!contract) return handler;
  checkFunction(handler, `Cannot handle "${name}": its handler`);
  const { args, result } = contract;
  return async (given, context) => {
    const checked = args
      ? validate(args, given, `the arguments of function "${name}"`)
      : given;
    const returned = await handler(checked, context);
    if (!result) return returned;
    try {
      return validate(result, returned, `the result of function "${name}"`);
    } catch (cause) {
      // Else the caller would read it as a word about what it has sent.
      throw new TypeError(messageOf(cause), { cause });
    }
  };
}

/**
 * What the schema of an event makes of its data.
 *
 * @throws {TypeError} if the contract has events, but none on that channel.
 * @throws {HeadwaterError} `invalid` if the schema refuses it.
 */
export function checkedEvent(
  app: App | undefined,
  channel: string,
  data: unknown,
): unknown {
  const schema = find(app?.events, channel, `emit "${channel}"`);
  return schema ? validate(schema, data, `the event "${channel}"`) : data;
}

function find<T>(
  part: Readonly<Record<string, T>> | undefined,
  name: string,
  action: string,
): T | undefined {
  if (!part || Object.hasOwn(part, name)) return part?.[name];
  throw new TypeError(`Cannot ${action}: the contract has none of that name`);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
