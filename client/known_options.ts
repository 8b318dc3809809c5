/**
 * Refuses options that there are not: one that is misspelt would be passed over. This
 * module is browser compatible.
 *
 * @module
 */
import { shown } from "../protocol/shown.ts";

/**
 * Checks the names of options; `action` completes "Cannot …".
 *
 * @throws {TypeError} naming the first that is not `known`, and those that are.
 */
export function checkOptions<O extends object>(
  action: string,
  options: O,
  known: Readonly<Record<keyof O & string, unknown>>,
): void {
  for (const name of Object.keys(options)) {
    if (Object.hasOwn(known, name)) continue;
    const names = Object.keys(known).join(", ");
    throw new TypeError(
      `Cannot ${action}: there is no option ${shown(name)}; there are ${names}`,
    );
  }
}
