/**
 * Refuses options that cannot be meant, before anything is opened: JavaScript and
 * settings out of a file have no types.
 *
 * @module
 */
import { DEFAULT_LIMITS, type Limits } from "../protocol/limits.ts";
import { shown } from "../protocol/shown.ts";
import { checkKvLocation } from "./kv_location.ts";
import { SLOT_EVENT_BYTES } from "./log/event_feed.ts";
import { checkKinds, type Kind } from "./option_kinds.ts";
import type { AttachOptions, ListenOptions, ServerOptions } from "./options.ts";

const SERVER_OPTIONS: Readonly<Record<keyof ServerOptions, Kind>> = {
  app: "object",
  kv: "any",
  sync: "boolean",
  limits: "object",
  cors: "any",
  trustProxy: "boolean",
  maskErrors: "boolean",
  authenticate: "function",
  pages: "object",
};

const LISTEN_OPTIONS: Readonly<Record<keyof ListenOptions, Kind>> = {
  port: "number",
  host: "string",
  path: "string",
  heartbeatMs: "number",
  cert: "string",
  key: "string",
  transport: "string",
};

const ATTACH_OPTIONS: Readonly<Record<keyof AttachOptions, Kind>> = {
  path: "string",
  heartbeatMs: "number",
};

/** The least value of a limit, where that is not 0 for a time and 1 for anything else. */
const LEAST: Readonly<Partial<Record<keyof Limits, number>>> = {
  accessMs: 100,
  commitMs: 1,
  eventBytes: 0,
  eventQueueBytes: 0,
  helloMs: 1,
  leaseMs: 40,
  outboxBytes: 0,
  outboxTotalBytes: 0,
  recipeValueBytes: 0,
  sessionMs: 1,
  subscriptionsPerConnection: 0,
};

/** The greatest one, where there is one. */
const MOST: Readonly<Partial<Record<keyof Limits, number>>> = {
  eventBytes: SLOT_EVENT_BYTES,
};

/** Limits that `Infinity` turns off; others are sent, stored, or counted towards. */
const ENDLESS: ReadonlySet<string> = new Set<keyof Limits>([
  "callsPerConnection",
  "connections",
  "connectionsPerAddress",
  "idleMs",
  "queuedMutations",
  "stallMs",
  "subscriptionsPerConnection",
]);

/**
 * The limits that options of `createServer()` set.
 *
 * @throws {TypeError} if there is no such option, or it is of another kind.
 * @throws {RangeError} if its value cannot be used.
 */
export function checkServerOptions(options: ServerOptions): Limits {
  const action = "Cannot create a server";
  checkKinds(action, options, SERVER_OPTIONS);
  const { kv, limits = {} } = options;
  if (typeof kv === "string") checkKvLocation(kv, `${action}: kv`);
  else if (kv !== undefined && !isKv(kv)) {
    throw new TypeError(
      `${action}: kv must be a path, ":memory:", an http(s) URL or a KV that was opened, not ${
        shown(kv)
      }`,
    );
  }
  const own: Record<string, number> = {};
  for (const [name, value] of Object.entries(limits)) {
    if (value === undefined) continue;
    checkLimit(action, name, value);
    own[name] = value;
  }
  return { ...DEFAULT_LIMITS, ...own };
}

/**
 * Checks the options of `Server.listen()`.
 *
 * @throws As {@linkcode checkServerOptions}.
 */
export function checkListenOptions(options: ListenOptions): void {
  const action = "Cannot listen";
  checkKinds(action, options, LISTEN_OPTIONS);
  const { port = 0, host, transport } = options;
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new RangeError(
      `${action}: port must be a whole number from 0 to 65535, not ${port}`,
    );
  }
  checkPathAndHeartbeat(action, options);
  if (host === "") {
    throw new RangeError(
      `${action}: host must be a name or an address, not ""`,
    );
  }
  if (
    transport !== undefined && transport !== "native" &&
    transport !== "hardened"
  ) {
    throw new RangeError(
      `${action}: transport must be "native" or "hardened", not ${
        shown(transport)
      }`,
    );
  }
  // One alone would be passed over, and the server speak plain HTTP.
  if ((options.cert === undefined) !== (options.key === undefined)) {
    const missing = options.cert === undefined ? "cert" : "key";
    throw new TypeError(
      `${action}: cert and key are used together, and ${missing} is missing`,
    );
  }
}

/**
 * Checks what is given to `Server.attach()`.
 *
 * @throws As {@linkcode checkServerOptions}.
 */
export function checkAttachOptions(
  httpServer: unknown,
  options: AttachOptions,
): void {
  const action = "Cannot attach";
  if (typeof httpServer === "function") {
    // As an application of Express is: it has listeners, and never an upgrade.
    throw new TypeError(
      `${action}: it takes a server of node:http or node:https, such as app.listen() returns, not the application`,
    );
  }
  const { on, off, listeners } = Object(httpServer);
  if (![on, off, listeners].every((method) => typeof method === "function")) {
    throw new TypeError(
      `${action}: it takes a server of node:http or node:https, not ${
        shown(httpServer)
      }`,
    );
  }
  checkKinds(action, options, ATTACH_OPTIONS);
  checkPathAndHeartbeat(action, options);
}

function checkPathAndHeartbeat(
  action: string,
  { path, heartbeatMs = 0 }: AttachOptions,
): void {
  if (!Number.isSafeInteger(heartbeatMs) || heartbeatMs < 0) {
    throw new RangeError(
      `${action}: heartbeatMs must be a whole number from 0, not ${heartbeatMs}`,
    );
  }
  if (path !== undefined && !path.startsWith("/")) {
    throw new RangeError(
      `${action}: path must begin with "/", found ${shown(path)}`,
    );
  }
  if (path !== undefined && /[?#]/.test(path)) {
    throw new RangeError(
      `${action}: path must be without "?" and "#", found ${shown(path)}`,
    );
  }
}

function checkLimit(action: string, name: string, value: unknown): void {
  const limit = `${action}: limit ${name}`;
  if (!Object.hasOwn(DEFAULT_LIMITS, name)) {
    throw new TypeError(
      `${action}: there is no limit ${shown(name)}; there are ${
        Object.keys(DEFAULT_LIMITS).join(", ")
      }`,
    );
  }
  if (typeof value !== "number") {
    throw new TypeError(`${limit} must be a number, not ${shown(value)}`);
  }
  if (value === Infinity && ENDLESS.has(name)) return;
  const known = name as keyof Limits; // DEFAULT_LIMITS has it
  const least = LEAST[known] ?? (name.endsWith("Ms") ? 0 : 1);
  if (!Number.isSafeInteger(value) || value < least) {
    const endless = ENDLESS.has(name) ? ", or Infinity" : "";
    throw new RangeError(
      `${limit} must be a whole number from ${least}${endless}, not ${value}`,
    );
  }
  const most = MOST[known];
  if (most !== undefined && value > most) {
    throw new RangeError(`${limit} must be ${most} or less, not ${value}`);
  }
}

/** Whether it looks like a KV; what it can do is seen when it is used. */
function isKv(kv: unknown): boolean {
  return typeof kv === "object" && kv !== null && "atomic" in kv &&
    typeof kv.atomic === "function";
}
