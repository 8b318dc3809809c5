/**
 * What may be the state of a store.
 *
 * @module
 */
import { type Schema, validate } from "../../protocol/schema.ts";
import {
  cleanValue,
  equalValues,
  freezeDeep,
  type Json,
} from "../../protocol/value.ts";

/** A store's state: an object of JSON values. */
export type StateObject = { readonly [key: string]: Json };

/** A frozen copy of a value that is to be a store's state, or part of one: an object. */
export function toState(value: unknown, what: string): StateObject {
  const state = cleanValue(value, { what });
  if (state === null || typeof state !== "object" || Array.isArray(state)) {
    throw new TypeError(
      `Cannot use ${what}: a store's state must be an object`,
    );
  }
  // Narrowed by the line above; TypeScript keeps readonly arrays in the union.
  return freezeDeep(state as StateObject);
}

/**
 * What a schema makes of a state: the very same object where that is the same, else
 * a frozen one. It must accept that as it is, or every write would change the state
 * again.
 *
 * @throws {HeadwaterError} `invalid` if the schema refuses the state.
 * @throws {TypeError} if the schema is asynchronous, or changes what it gave itself.
 */
export function fitState(
  schema: Schema,
  state: StateObject,
  what: string,
): StateObject {
  const output: unknown = validate(schema, state, what);
  // Compared as it is: a copy of a large state takes longer than all the rest.
  if (equalValues(state, output as Json)) return state;
  const fitted = toState(output, what);
  if (equalValues(toState(validate(schema, fitted, what), what), fitted)) {
    return fitted;
  }
  throw new TypeError(
    `Cannot use ${what}: its schema changes what it gave itself`,
  );
}
