/**
 * Every limit, with its default. This module is browser compatible.
 *
 * @module
 */

/**
 * Limits of a server, whole numbers: sizes in bytes, times in milliseconds, counts.
 *
 * - Sizes and counts are at least 1, times at least 0. Those of events, outboxes,
 *   subscriptions and `recipeValueBytes` may be 0; `commitMs`, `helloMs` and `sessionMs`
 *   are at least 1.
 * - `Infinity` turns off `callsPerConnection`, `connections`, `connectionsPerAddress`,
 *   `idleMs`, `queuedMutations`, `stallMs` and `subscriptionsPerConnection`.
 * - Others that errors name cannot be changed, and the error says so: `answerBytes`,
 *   `changesPerTransaction`, `history`, `joinedBytes`,
 *   `storesPerTransaction`, `transactionBytes`, `userBytes`, `writesPerBatch` and
 *   `writesPerCall`.
 */
export interface Limits {
  /** One WebSocket message from a client. */
  messageBytes: number;
  /** Nesting of a value. */
  depth: number;
  /** Values and keys within one frame from a client. */
  nodes: number;
  /** Characters of a name: store, function, channel. */
  nameLength: number;
  /** One store's state, encoded. */
  stateBytes: number;
  /** One mutation's patch, encoded. */
  patchBytes: number;
  /** What a recipe returns inside a function, encoded: it is recorded with the write. */
  recipeValueBytes: number;
  /** Bytes that wait in one connection's socket before it counts as slow. */
  outboxBytes: number;
  /** The same for all connections together. */
  outboxTotalBytes: number;
  /** How long a connection may stay slow before it is evicted. */
  stallMs: number;
  /** Bytes that wait in one connection's inbox before it is closed as flooding. */
  inboxBytes: number;
  /** One event with its channel and its target, encoded; at most 57,344. */
  eventBytes: number;
  /** Bytes of events that wait to be handed to other servers; further ones do not reach these. */
  eventQueueBytes: number;
  /** Calls of one connection that run at once; further ones wait in its inbox. */
  callsPerConnection: number;
  /** Subscriptions of one connection. */
  subscriptionsPerConnection: number;
  /** Connections of the server. */
  connections: number;
  /** Connections from one address; loopback only counts where this is set. */
  connectionsPerAddress: number;
  /** How long a new connection may take to say hello. */
  helloMs: number;
  /** Mutations that wait for one store. */
  queuedMutations: number;
  /** How long a commit is tried before its writes are rejected. */
  commitMs: number;
  /** How long a session may be used, and its writes are remembered. */
  sessionMs: number;
  /** How long a store without subscribers stays loaded. */
  idleMs: number;
  /**
   * With `authenticate`: how long a server may have been unable to ask whose access was
   * revoked, before it serves nobody.
   */
  accessMs: number;
  /** How long a server may be silent before others take over what it had to do; at least 40. */
  leaseMs: number;
  /** The longest that patches of a busy store are gathered; 0: never. */
  fanoutMs: number;
}

/**
 * Names of limits that errors speak of and nobody can change. They hold on every server and
 * client, or what one of them writes another could not take.
 *
 * - `answerBytes`: an answer that is kept by `once`.
 * - `changesPerTransaction`, `storesPerTransaction` and `transactionBytes`.
 * - `history`: entries of one page of a history.
 * - `joinedBytes`: a message that came in parts.
 * - `userBytes`: what `authenticate` returns.
 * - `writesPerBatch`: writes of a client that are sent together.
 * - `writesPerCall`: writes of one call to one store.
 */
export const FIXED_LIMITS: ReadonlySet<string> = new Set([
  "answerBytes",
  "changesPerTransaction",
  "history",
  "joinedBytes",
  "storesPerTransaction",
  "transactionBytes",
  "userBytes",
  "writesPerBatch",
  "writesPerCall",
]);

/** The default of `depth`, and the nesting of what is shared without a server. */
export const DEFAULT_DEPTH = 64;

/**
 * Values in one that is shared without a server. No honest state comes near it (64 MiB of
 * state would need values of six bytes). What it ends is a value that holds the same
 * object many times over at every level: thirty such levels would be a billion copies.
 */
export const MOST_NODES = 10_000_000;

/** The default of every limit. */
export const DEFAULT_LIMITS: Readonly<Limits> = {
  messageBytes: 256 * 1024,
  depth: DEFAULT_DEPTH,
  nodes: 100_000,
  nameLength: 200,
  stateBytes: 64 * 1024 * 1024,
  patchBytes: 16 * 1024 * 1024,
  recipeValueBytes: 4 * 1024,
  outboxBytes: 256 * 1024,
  outboxTotalBytes: 64 * 1024 * 1024,
  stallMs: 30_000,
  inboxBytes: 1024 * 1024,
  eventBytes: 32 * 1024,
  eventQueueBytes: 8 * 1024 * 1024,
  callsPerConnection: 64,
  subscriptionsPerConnection: 1_000,
  connections: 50_000,
  connectionsPerAddress: 256,
  helloMs: 10_000,
  queuedMutations: 20_000,
  commitMs: 5_000,
  sessionMs: 24 * 60 * 60 * 1000,
  idleMs: 60_000,
  accessMs: 15_000,
  leaseMs: 60_000,
  fanoutMs: 16,
};
