/**
 * Which codes may come, read from where they are documented.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import { HeadwaterError } from "../../protocol/errors.ts";

/** The codes of the table of errors in PROTOCOL.md, which a test holds to the type. */
export const ERROR_CODES: ReadonlySet<string> = readErrorCodes();

/** A frame took longer than this alone: a failure. */
export const SLOW_MS = 50;

/** Something that must not happen. */
export class FuzzFailure extends Error {
  /** Name of the class. */
  override readonly name = "FuzzFailure";
}

/** The documented code by which something is refused; anything else that was thrown is a failure. */
export function refusalCode(error: unknown): string {
  if (error instanceof HeadwaterError && ERROR_CODES.has(error.code)) {
    return error.code;
  }
  if (error instanceof FuzzFailure) throw error;
  const what = error instanceof Error ? error.stack : String(error);
  throw new FuzzFailure(`no documented error: ${what}`, { cause: error });
}

function readErrorCodes(): Set<string> {
  const lines = readFileSync(
    new URL("../../PROTOCOL.md", import.meta.url),
    "utf8",
  ).split("\n");
  const start = lines.findIndex((line) => /^\| code +\| meaning/.test(line));
  const end = lines.indexOf("", start);
  const codes = lines.slice(start + 2, end)
    .map((line) => /^\| `(\w+)`/.exec(line)?.[1] ?? "");
  if (start < 0 || codes.length < 10 || codes.includes("")) {
    throw new Error("PROTOCOL.md has no table of error codes");
  }
  return new Set(codes);
}
