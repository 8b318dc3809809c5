/**
 * What the options of a client come to. This module is browser compatible.
 *
 * @module
 */
import type { BackoffOptions } from "./backoff.ts";
import { shown } from "../protocol/shown.ts";
import type { ClientLimits, ClientOptions } from "./client_options.ts";
import { type Environment, hostEnvironment } from "./environment.ts";
import { checkOptions } from "./known_options.ts";
import { MOST_PENDING } from "./request.ts";
import type { LoadWriting } from "./writing_port.ts";

/** Options of a client whose host has the part that writes already. */
export interface HostedOptions extends ClientOptions {
  /** Loads the part that writes; by a dynamic import by default. */
  loadWriting?: LoadWriting | undefined;
}

/** See the module's documentation. */
export interface Settings {
  /** Where it runs. */
  readonly environment: Environment;
  /** How long to wait before connecting again. */
  readonly backoff: BackoffOptions;
  /** How long a call may take. */
  readonly timeoutMs: number;
  /** Calls and writes that may wait for their answer. */
  readonly mostPending: number;
  /** Changes of a store that can be taken back. */
  readonly undoSteps: number;
}

// In words that name the types as `typeof` does, which are checked by them.
const FUNCTION = "a function";
const OVER_ZERO = "a number over 0";
const WHOLE = "a whole number over 0";

const OPTIONS: Readonly<Record<keyof Required<ClientOptions>, string>> = {
  app: "an object, made by defineApp()",
  token: "a string or a function",
  reconnect: "a boolean",
  reconnectDelayMs: OVER_ZERO,
  reconnectMaxMs: OVER_ZERO,
  rpcTimeoutMs: OVER_ZERO,
  limits: "an object",
  storage: "an object, made by indexedDbStorage()",
  WebSocket: FUNCTION,
  clock: "an object",
  random: FUNCTION,
  onWake: FUNCTION,
  reportError: FUNCTION,
};

const LIMITS: Readonly<Record<keyof Required<ClientLimits>, string>> = {
  pendingRequests: WHOLE,
  undoSteps: WHOLE,
};

/**
 * The settings of a client.
 *
 * @throws {TypeError} If an option is not as it must be.
 */
export function toSettings(options: HostedOptions): Settings {
  // That of tests is not told.
  const { loadWriting, ...told } = options;
  check(told, OPTIONS);
  const { limits = {} } = options;
  check(limits, LIMITS);
  const host = hostEnvironment();
  const environment = {
    WebSocket: options.WebSocket ?? host.WebSocket,
    clock: options.clock ?? host.clock,
    random: options.random ?? host.random,
    onWake: options.onWake ?? host.onWake,
    reportError: options.reportError ?? host.reportError,
    loadWriting: loadWriting ?? host.loadWriting,
  };
  const backoff = {
    delayMs: options.reconnectDelayMs ?? 1_000,
    maxMs: options.reconnectMaxMs ?? 10_000,
    random: environment.random,
  };
  return {
    environment,
    backoff,
    timeoutMs: options.rpcTimeoutMs ?? 10_000,
    mostPending: limits.pendingRequests ?? MOST_PENDING,
    undoSteps: limits.undoSteps ?? 100,
  };
}

function check<O extends object>(
  options: O,
  known: Readonly<Record<keyof O & string, string>>,
): void {
  checkOptions("make a client", options, known);
  for (const [name, value] of Object.entries(options)) {
    const words = known[name as keyof O & string]; // it is
    if (value === undefined || fits(value, words)) continue;
    throw new TypeError(
      `Cannot make a client: ${name} must be ${words}, not ${shown(value)}`,
    );
  }
}

function fits(value: unknown, words: string): boolean {
  if (value === null || !words.includes(typeof value)) return false;
  return typeof value !== "number" ||
    value > 0 && (words !== WHOLE || Number.isSafeInteger(value));
}
