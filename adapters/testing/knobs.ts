/**
 * Knobs that refuse what they cannot be turned to: a chance of 5 would pass for
 * "always", and a delay from 50 to 1 ms for a negative one.
 *
 * @module
 */
import { shown } from "../../protocol/shown.ts";

/** What a knob may be turned to. */
export interface Knob {
  readonly fits: (value: unknown) => boolean;
  /** Completes "must be". */
  readonly must: string;
}

/** A chance. */
export const CHANCE: Knob = {
  fits: isChance,
  must: "a chance from 0 to 1",
};

/** How long something takes. */
export const DELAY: Knob = {
  fits: isDelay,
  must: "[least, most] in milliseconds, from 0",
};

/** The same in whole milliseconds. */
export const WHOLE_DELAY: Knob = {
  fits: (value) => isDelay(value) && value.every(Number.isInteger),
  must: "[least, most] in whole milliseconds, from 0",
};

/** A delay that comes by chance. */
export const CHANCE_OF_DELAY: Knob = {
  fits: (value) =>
    typeof value === "object" && value !== null && "chance" in value &&
    isChance(value.chance) && "ms" in value && isDelay(value.ms),
  must: "{ chance, ms: [least, most] }, a chance from 0 to 1",
};

/** On or off. */
export const SWITCH: Knob = {
  fits: (value) => typeof value === "boolean",
  must: "true or false",
};

/** How many bytes in a millisecond. */
export const SPEED: Knob = {
  fits: (value) => typeof value === "number" && value > 0,
  must: "a number over 0, or Infinity",
};

/** One of these. */
export function oneOf(...values: readonly string[]): Knob {
  return {
    fits: (value) => typeof value === "string" && values.includes(value),
    must: `one of ${values.join(", ")}`,
  };
}

/**
 * Makes properties of `target` knobs, which throw a RangeError when they are turned to
 * what they cannot be; no property may be added.
 */
export function addKnobs<T extends object, K extends keyof T & string>(
  target: T,
  knobs: Readonly<Record<K, Knob>>,
  what: string,
): T {
  for (const [name, { fits, must }] of Object.entries<Knob>(knobs)) {
    let current: unknown = Reflect.get(target, name);
    Object.defineProperty(target, name, {
      enumerable: true,
      get: () => current,
      set(value: unknown) {
        if (!fits(value)) {
          throw new RangeError(
            `Cannot turn ${what}.${name} to ${
              format(value)
            }: it must be ${must}`,
          );
        }
        current = value;
      },
    });
  }
  return Object.preventExtensions(target);
}

function isChance(value: unknown): boolean {
  return typeof value === "number" && value >= 0 && value <= 1;
}

function isDelay(value: unknown): value is readonly [number, number] {
  if (!Array.isArray(value) || value.length !== 2) return false;
  const [least, most] = value;
  return typeof least === "number" && typeof most === "number" &&
    least >= 0 && least <= most && most < Infinity;
}

function format(value: unknown): string {
  return typeof value === "object" && value !== null
    ? JSON.stringify(value)
    : shown(value);
}
