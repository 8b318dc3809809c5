/**
 * Refuses parts of a contract that cannot be meant. This module is browser compatible.
 *
 * @module
 */
import { CLIENT_CHANNELS } from "./channels.ts";
import { checkSchema } from "./schema_check.ts";
import { checkFunction, shown } from "./shown.ts";

type Fields = Readonly<Record<string, unknown>>;

const PARTS = ["stores", "functions", "mutators", "events", "presence"];
const STORE = ["initial", "schema", "version", "migrate"];
const FUNCTION = ["args", "result"];
const MUTATOR = ["store", "args", "run"];

/**
 * Checks the parts that `defineApp` is given: JavaScript has no types, and what is misspelt
 * would pass as left out.
 *
 * @throws {TypeError} naming what is wrong.
 */
export function checkContract(parts: unknown): void {
  const app = fieldsOf("Cannot define an app: its contract", parts, PARTS);
  for (const part of PARTS.slice(0, -1)) {
    if (app[part] === undefined) continue;
    const what = `Cannot define an app: its ${part}`;
    for (const [name, value] of Object.entries(fieldsOf(what, app[part]))) {
      CHECKS[part]?.(name, value);
      if (part === "mutators") checkTarget(name, value, app["stores"]);
    }
  }
  if (app["presence"] === undefined) return;
  checkSchema(app["presence"], "Cannot define an app: presence");
}

const CHECKS: Readonly<
  Record<string, (name: string, value: unknown) => void>
> = {
  stores: checkStore,
  functions: checkFunctionContract,
  mutators: checkMutator,
  events: checkEvent,
};

function checkStore(name: string, value: unknown): void {
  const what = `Cannot define store "${name}"`;
  const { initial, schema, version, migrate } = fieldsOf(
    `${what}: it`,
    value,
    STORE,
  );
  fieldsOf(`${what}: its initial state`, initial);
  if (schema !== undefined) checkSchema(schema, `${what}: schema`);
  if (migrate !== undefined) checkFunction(migrate, `${what}: migrate`);
  const isVersion = Number.isSafeInteger(version) && Number(version) >= 1;
  if (version === undefined || isVersion) return;
  throw new TypeError(
    `${what}: version must be an integer from 1, not ${shown(version)}`,
  );
}

function checkFunctionContract(name: string, value: unknown): void {
  const what = `Cannot define function "${name}"`;
  const { args, result } = fieldsOf(`${what}: it`, value, FUNCTION);
  if (args !== undefined) checkSchema(args, `${what}: args`);
  if (result !== undefined) checkSchema(result, `${what}: result`);
}

function checkMutator(name: string, value: unknown): void {
  const what = `Cannot define mutator "${name}"`;
  const { args, run } = fieldsOf(`${what}: it`, value, MUTATOR);
  if (args !== undefined) checkSchema(args, `${what}: args`);
  checkFunction(run, `${what}: run`);
}

function checkTarget(name: string, value: unknown, stores: unknown): void {
  const { store } = value as Fields; // checkMutator() has seen to it
  const known = Object(stores);
  if (typeof store === "string" && Object.hasOwn(known, store)) return;
  const shownStore = typeof store === "string" ? `"${store}"` : shown(store);
  throw new TypeError(
    `Cannot define mutator "${name}": the contract has no store ${shownStore}`,
  );
}

function checkEvent(name: string, value: unknown): void {
  if (CLIENT_CHANNELS.has(name)) {
    throw new TypeError(
      `Cannot define event "${name}": clients use that channel for what they say themselves`,
    );
  }
  checkSchema(value, `Cannot define event "${name}": it`);
}

function fieldsOf(
  what: string,
  value: unknown,
  known?: readonly string[],
): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new TypeError(`${what} must be an object, not ${shown(value)}`);
  }
  const fields = value as Fields; // an object
  const odd = known && Object.keys(fields).find((key) => !known.includes(key));
  if (known === undefined || odd === undefined) return fields;
  throw new TypeError(
    `${what} has no field ${shown(odd)}; there are ${known.join(", ")}`,
  );
}
