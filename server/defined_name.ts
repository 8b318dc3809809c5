/**
 * Names that an application gives to its stores and functions.
 *
 * @module
 */
import { HeadwaterError } from "../protocol/errors.ts";
import { cleanName, isForbiddenKey } from "../protocol/value.ts";

/**
 * The name in normal form.
 *
 * @throws {HeadwaterError} `bad_name` unless it can be one: see {@linkcode cleanName};
 * nor may it be a key that no shared object can have, such as `__proto__`, under which
 * a contract or a list of optimistic changes would not find it.
 * @throws {LimitError} if it is longer than `maxLength`.
 */
export function definedName(
  name: unknown,
  what: string,
  maxLength: number,
): string {
  const clean = cleanName(name, `the name of a ${what}`, maxLength);
  if (isForbiddenKey(clean)) {
    throw new HeadwaterError(
      "bad_name",
      `Cannot use "${clean}" as the name of a ${what}: it is no key that an object may have`,
    );
  }
  return clean;
}
