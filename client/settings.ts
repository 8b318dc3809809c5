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
import type { ClientStorage } from "./storage.ts";
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

/** Whether a value will do, and in words which ones do. */
type Check = readonly [(value: unknown) => boolean, string];

const isFunction = (value: unknown) => typeof value === "function";
const isObject = (value: unknown) =>
  typeof value === "object" && value !== null;
const FUNCTION: Check = [isFunction, "a function"];
const MS: Check = [
  (value) => typeof value === "number" && value > 0,
  "a number over 0",
];
const COUNT: Check = [
  (value) => Number.isSafeInteger(value) && Number(value) > 0,
  "an integer over 0",
];

const OPTIONS: Readonly<Record<keyof Required<ClientOptions>, Check>> = {
  app: [isObject, "what defineApp() returns"],
  token: [
    (value) => typeof value === "string" || isFunction(value),
    "a string, or a function that gives one",
  ],
  reconnect: [(value) => typeof value === "boolean", "true or false"],
  reconnectDelayMs: MS,
  reconnectMaxMs: MS,
  rpcTimeoutMs: MS,
  limits: [isObject, "an object"],
  storage: [
    (value) => isObject(value) && isFunction((value as ClientStorage).load), // an object
    "a storage, such as indexedDbStorage()",
  ],
  WebSocket: [isFunction, "a class"],
  clock: [isObject, "an object"],
  random: FUNCTION,
  onWake: FUNCTION,
  reportError: FUNCTION,
};

const LIMITS: Readonly<Record<keyof Required<ClientLimits>, Check>> = {
  pendingRequests: COUNT,
  undoSteps: COUNT,
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
  checks: Readonly<Record<keyof O & string, Check>>,
): void {
  checkOptions("make a client", options, checks);
  for (const [name, value] of Object.entries(options)) {
    const [fits, words] = checks[name as keyof O & string]; // it is known
    if (value === undefined || fits(value)) continue;
    throw new TypeError(
      `Cannot make a client: ${name} must be ${words}, not ${shown(value)}`,
    );
  }
}
