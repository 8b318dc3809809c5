/** What has gone wrong in histories, and how often: one in which nothing does proves little. */
export interface Faults {
  /** Messages that were lost on a connection that stayed. */
  lostMessages: number;
  /** Messages that came twice. */
  doubledMessages: number;
  /** Attempts to connect that were refused. */
  refusedConnections: number;
  /** Connections that were cut. */
  cuts: number;
  /** Clocks that jumped. */
  clockJumps: number;
  /** Entries of the KV whose time was over. */
  expiries: number;
  /** Snapshots that took the place of a log. */
  compactions: number;
  /** Servers that started again. */
  restarts: number;
  /** Processes that stood still for a while. */
  suspensions: number;
  /** Watches that ended under a server that lives. */
  brokenWatches: number;
  /** Writes of clients that were made again, on what others wrote. */
  rebases: number;
  /** Writes of clients that were refused because others wrote. */
  conflicts: number;
  /** Tokens and limits of users that were changed. */
  accessChanges: number;
  /** Reads and writes that were refused for that. */
  refusals: number;
}

/** Nothing has gone wrong. */
export const NO_FAULTS: Readonly<Faults> = {
  lostMessages: 0,
  doubledMessages: 0,
  refusedConnections: 0,
  cuts: 0,
  clockJumps: 0,
  expiries: 0,
  compactions: 0,
  restarts: 0,
  suspensions: 0,
  brokenWatches: 0,
  rebases: 0,
  conflicts: 0,
  accessChanges: 0,
  refusals: 0,
};
