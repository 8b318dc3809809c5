/**
 * Structured logs through LogTape. A library does not configure logging: until
 * the application does, nothing is written.
 *
 * @module
 */
import { getLogger, type Logger } from "@logtape/logtape";

export type { Logger };

/** The logger of one part of the server, below the category "headwater". */
export function loggerOf(part: string): Logger {
  return getLogger(["headwater", part]);
}
