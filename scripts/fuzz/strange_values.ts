/**
 * What an application may hand over in memory that is not JSON, made from JSON
 * so that a case can be written down: some texts stand for such values.
 *
 * @module
 */
import type { Json } from "../../protocol/value.ts";
import { randomJson, type SeededRandom } from "../../tests/_arbitraries.ts";

const STRANGE: Readonly<Record<string, () => unknown>> = {
  "!undefined": () => undefined,
  "!nan": () => NaN,
  "!infinity": () => -Infinity,
  "!zero": () => -0,
  "!bigint": () => 2n ** 64n,
  "!symbol": () => Symbol("s"),
  "!function": () => () => 1,
  "!date": () => new Date(0),
  "!map": () => new Map([["a", 1]]),
  "!set": () => new Set([1]),
  "!bytes": () => new Uint8Array(3),
  "!regexp": () => /x/,
  "!error": () => new Error("x"),
  "!promise": () => Promise.resolve(1),
  "!boxed": () => Object(1),
  "!class": () => new (class Seat {})(),
  "!subclass": () => new (class Row extends Array {})(),
  "!bare": () => Object.assign(Object.create(null), { a: 1 }),
  "!inherited": () => Object.create({ a: 1 }),
  "!sparse": () => new Array(5),
  "!long": () => Object.assign([], { length: 4_294_967_295 }),
  "!lone": () => "\ud800",
  "!lone key": () => ({ "\udc00": 1 }),
  "!symbol key": () => ({ [Symbol("k")]: 1 }),
  "!proto key": () => JSON.parse('{"__proto__": {"a": 1}}'),
  "!getter": () => ({
    get a(): number {
      throw new Error("a getter ran");
    },
  }),
  "!cycle": () => {
    const ring: Record<string, unknown> = {};
    ring["ring"] = [ring];
    return ring;
  },
};

const NAMES = Object.keys(STRANGE);

/** The value that JSON stands for. */
export function toStrange(json: Json): unknown {
  if (typeof json === "string") {
    return Object.hasOwn(STRANGE, json) ? STRANGE[json]!() : json;
  }
  if (typeof json !== "object" || json === null) return json;
  if (Array.isArray(json)) return json.map(toStrange);
  return Object.fromEntries(
    Object.entries(json).map(([key, value]) => [key, toStrange(value)]),
  );
}

/** JSON that stands for something strange, or for itself. */
export function randomStrange(random: SeededRandom, depth: number): Json {
  if (random.below(3) === 0) return random.pick(NAMES);
  return depth > 0 && random.below(2) === 0
    ? [randomStrange(random, depth - 1), randomJson(random, 1)]
    : { a: randomJson(random, 2), b: randomJson(random, 1) };
}
