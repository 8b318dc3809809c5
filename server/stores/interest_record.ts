/**
 * The record of who subscribes to a store: what each server has. It exists only for
 * stores on which something depends, and while there is something in it.
 *
 * @module
 */
import {
  decodeRecord,
  encodeRecord,
  fields,
  list,
  text,
  uint,
} from "../log/record.ts";

/** What one server has to do with the subscribers of one store. */
export interface ServerInterest {
  /** How many it has. */
  readonly count: number;
  /** The life of the store that they follow. */
  readonly epoch: string;
  /** How many have left without that anybody has been told. */
  readonly left: number;
  /** Number of the time that the last one has left, which nobody has been told; 0: none. */
  readonly idle: number;
  /** Number of the attempt that wrote this: what became of one is told by it. */
  readonly attempt: number;
}

/** By server. */
export type InterestRecord = ReadonlyMap<string, ServerInterest>;

/** What this server knows and the record does not. */
export interface OwnInterest extends Omit<ServerInterest, "idle"> {
  readonly server: string;
  /** How many have left beside those in {@linkcode ServerInterest.left}. */
  readonly fresh: number;
  /** The last number of {@linkcode ServerInterest.idle} that was told. */
  readonly told: number;
}

/** For what the record is kept. */
export interface InterestUse {
  readonly isCounted: boolean;
  readonly isIdleTold: boolean;
}

/** The record that is to be written, and what it says. */
export interface NextInterest {
  readonly record: InterestRecord;
  readonly own: ServerInterest | undefined;
  /** How many have left that were those of servers which died. */
  readonly inherited: number;
  readonly isChanged: boolean;
}

/**
 * Puts what this server knows in its place. Who is the last to leave is told by the
 * record: only the commit that takes it from one to none says that a store is idle.
 */
export function nextInterest(
  record: InterestRecord,
  known: OwnInterest,
  { isPresent, epoch, use, dead }: {
    /** Whether the store exists in that life, or one that it took over. */
    isPresent: (epoch: string) => boolean;
    /** The life of the store now. */
    epoch: string | undefined;
    use: InterestUse;
    /** Servers whose part this one takes over. */
    dead: ReadonlySet<string>;
  },
): NextInterest {
  const next = new Map<string, ServerInterest>();
  let others = 0;
  let inherited = 0;
  let isIdleInherited = false;
  for (const [server, entry] of record) {
    if (server === known.server) continue;
    const isCurrent = isPresent(entry.epoch);
    if (!dead.has(server)) {
      next.set(server, entry);
      if (isCurrent) others += entry.count;
    } else if (isCurrent) {
      inherited += entry.count + entry.left;
      isIdleInherited ||= entry.idle > 0;
    }
  }
  const before = record.get(known.server);
  const isCurrent = isPresent(known.epoch);
  const total = others + (isCurrent ? known.count : 0);
  const fresh = (isCurrent ? known.fresh : 0) + inherited;
  // They may have been taken over without that this server ever had the store.
  const isTellable = before !== undefined && isPresent(before.epoch);
  const left = (isTellable ? known.left : 0) + fresh;
  const isPending = isTellable && before.idle > known.told;
  const isIdle = isIdleInherited || (fresh > 0 && total === 0);
  const last = Math.max(known.told, before?.idle ?? 0);
  const own: ServerInterest = {
    count: known.count,
    epoch: known.count > 0 ? known.epoch : epoch ?? known.epoch,
    left: use.isCounted ? left : 0,
    idle: isPending ? before.idle : use.isIdleTold && isIdle ? last + 1 : 0,
    attempt: known.attempt,
  };
  const isHeld = own.count > 0 || own.left > 0 || own.idle > 0;
  if (isHeld) next.set(known.server, own);
  const isChanged = isHeld ? !before || !isSame(before, own) : !!before;
  return {
    record: next,
    own: isHeld ? own : undefined,
    inherited,
    isChanged: isChanged || [...dead].some((server) => record.has(server)),
  };
}

/** Encodes a record. */
export function encodeInterest(
  record: InterestRecord,
): Uint8Array<ArrayBuffer> {
  const servers = [...record].map(([server, entry]) => {
    const { count, epoch, left, idle, attempt } = entry;
    return [server, [count, epoch, left, idle, attempt]];
  });
  return encodeRecord({ s: Object.fromEntries(servers) });
}

/** Decodes a record; what is absent holds nobody. */
export function decodeInterest(value: unknown): InterestRecord {
  if (value === null) return new Map();
  const servers = fields(decodeRecord(value, "interest")["s"], "interest");
  return new Map(
    Object.entries(servers).map(([server, json]) => {
      const [count, epoch, left, idle, attempt] = list(json);
      const entry: ServerInterest = {
        count: uint(count),
        epoch: text(epoch),
        left: uint(left),
        idle: uint(idle),
        attempt: uint(attempt),
      };
      return [server, entry];
    }),
  );
}

function isSame(a: ServerInterest, b: ServerInterest): boolean {
  return a.count === b.count && a.epoch === b.epoch && a.left === b.left &&
    a.idle === b.idle;
}
