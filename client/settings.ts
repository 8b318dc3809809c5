/**
 * What the options of a client come to. This module is browser compatible.
 *
 * @module
 */
import type { BackoffOptions } from "./backoff.ts";
import type { ClientOptions } from "./client_options.ts";
import { type Environment, hostEnvironment } from "./environment.ts";
import { checkOptions } from "./known_options.ts";
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
}

const KNOWN: Readonly<Record<keyof Required<ClientOptions>, true>> = {
  app: true,
  token: true,
  reconnect: true,
  reconnectDelayMs: true,
  reconnectMaxMs: true,
  rpcTimeoutMs: true,
  storage: true,
  WebSocket: true,
  clock: true,
  random: true,
  onWake: true,
  reportError: true,
};

/**
 * The settings of a client.
 *
 * @throws {TypeError} If an option is not as it must be.
 */
export function toSettings(options: HostedOptions): Settings {
  const {
    reconnectDelayMs = 1_000,
    reconnectMaxMs = 10_000,
    rpcTimeoutMs = 10_000,
  } = options;
  const durations = { reconnectDelayMs, reconnectMaxMs, rpcTimeoutMs };
  // That of tests is not told.
  const { loadWriting, ...told } = options;
  checkOptions("make a client", told, KNOWN);
  for (const [option, ms] of Object.entries(durations)) {
    if (ms > 0) continue;
    throw new TypeError(
      `Cannot make a client: ${option} must be over 0, not ${ms}`,
    );
  }
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
    delayMs: reconnectDelayMs,
    maxMs: reconnectMaxMs,
    random: environment.random,
  };
  return { environment, backoff, timeoutMs: rpcTimeoutMs };
}
