/**
 * Nodes with rooms that tell of their hooks, and what the KV holds of who is in them.
 *
 * @module
 */
import { interestKey } from "../server/log/keys.ts";
import type { Kv } from "../server/ports.ts";
import type { StoreOptions } from "../server/stores/store_options.ts";
import type { DynamicStore } from "../server/stores/dynamic_store.ts";
import { decodeInterest } from "../server/stores/interest_record.ts";
import { until } from "./_harness.ts";
import {
  idOf,
  keysOf,
  type NodeOptions,
  Replica,
  TestNode,
} from "./_store_harness.ts";

/** How long servers of these tests may be silent, on a virtual clock. */
export const LEASE_MS = 400;

/** State of a room. */
export interface Room {
  messages: string[];
}

/** A node with rooms. */
export type RoomNode = TestNode & {
  rooms: DynamicStore<Room>;
  /** What hooks were called with, in order. */
  runs: string[];
  /** Messages of what was reported. */
  errors: string[];
  /** Subscribes to a room; undone by `end()`. */
  enter(key: string): Promise<Replica>;
};

/** What a {@linkcode RoomNode} is made from. */
export interface RoomOptions extends NodeOptions {
  readonly store?: StoreOptions;
  readonly onIdle?: ((key: string | null) => unknown) | null;
  readonly onTerminate?: (key: string | null) => unknown;
}

/** A node with rooms that tell of their hooks. */
export async function openRooms(
  kv: Kv,
  { store, onIdle = () => {}, onTerminate, ...options }: RoomOptions = {},
): Promise<RoomNode> {
  const node = new TestNode(kv, options);
  const runs: string[] = [];
  const errors: string[] = [];
  const rooms = node.dynamic<Room>("Room:*", { messages: [] }, store);
  if (onIdle) {
    rooms.onIdle(async (key) => {
      runs.push(`idle ${key}`);
      await onIdle(key);
    });
  }
  if (onTerminate) {
    rooms.onTerminate(async (key) => {
      runs.push(`terminate ${key}`);
      await onTerminate(key);
    });
  }
  const enter = async (key: string) => {
    await node.access.open(`Room:${key}`);
    return new Replica(node.loaded(`Room:${key}`));
  };
  await node.open();
  node.lifecycle.on("error", (error) => void errors.push(error.message));
  return Object.assign(node, { rooms, runs, errors, enter });
}

/** What the record of a room says, by server. */
export async function counts(kv: Kv, key = "a"): Promise<number[]> {
  const { value } = await kv.get(interestKey(idOf(`Room:${key}`)));
  return [...decodeInterest(value).values()].map(({ count }) => count).sort();
}

/** Waits until the record of a room says so. */
export async function untilCounts(
  kv: Kv,
  wanted: number[],
  key = "a",
): Promise<void> {
  await until(async () => `${await counts(kv, key)}` === `${wanted}`, {
    describe: () => `counts ${wanted}`,
  });
}

/** Waits until nothing is recorded of anybody. */
export async function untilNothing(kv: Kv): Promise<void> {
  await until(async () => (await keysOf(kv, "interest")).length === 0);
}

/** The process of a node is no more: nothing of it reaches the KV. */
export function kill(node: TestNode): void {
  node.kv.isDead = true;
}
