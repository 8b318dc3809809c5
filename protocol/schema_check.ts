/**
 * Refuses what is no schema. Apart from what checks by one, which a page loads that
 * writes. This module is browser compatible.
 *
 * @module
 */
import { shown } from "./shown.ts";

/**
 * Refuses what is no schema; `what` begins the message.
 *
 * @throws {TypeError} Unless `value` follows Standard Schema, version 1.
 */
export function checkSchema(value: unknown, what: string): void {
  const isHolder = typeof value === "function" ||
    typeof value === "object" && value !== null;
  const standard: unknown = isHolder && "~standard" in value
    ? value["~standard"]
    : undefined;
  const isSchema = typeof standard === "object" && standard !== null &&
    "validate" in standard && typeof standard.validate === "function" &&
    "version" in standard && standard.version === 1;
  if (isSchema) return;
  throw new TypeError(
    `${what} must be a schema that follows Standard Schema, such as Zod's z.object({ … }), not ${
      shown(value)
    }`,
  );
}
