/**
 * What kind of history a seed stands for: how many processes, over what KV, on
 * what network, and how much goes wrong.
 *
 * @module
 */
import type { SeededRandom } from "../../adapters/testing/mod.ts";
import { DYNAMIC_STORES, STORES } from "./application.ts";

/** Most states are small; a few outgrow the log, an atomic's value, a socket's buffer. */
const PAD_SIZES = [
  ...[0, 0, 0, 200, 200, 9_000],
  ...[9_000, 9_000, 30_000, 30_000, 90_000],
];

/** Those of which a plan of two stores takes its second. */
const OTHER_STORES = STORES.filter((name) => !DYNAMIC_STORES.includes(name));

/** The frame of one history. */
export interface Plan {
  readonly servers: number;
  readonly clients: number;
  readonly moves: number;
  /** Stores that are used; few of them meet each other more often. */
  readonly stores: readonly string[];
  /** How long messages travel, and operations of the KV, where nothing is wrong. */
  readonly latencyMs: readonly [number, number];
  /** Whether processes sleep for so long that feeds expire and leftovers are swept. */
  readonly isLong: boolean;
  /** Whether the KV is a file, whose watch tells nothing of other processes. */
  readonly isLocal: boolean;
  /** Whether servers follow each other; false only where there is one. */
  readonly sync: boolean;
  /** Versions that each store keeps. */
  readonly keptVersions: number;
  /** Characters that a write may add; beyond the log's least size there are snapshots. */
  readonly padSize: number;
  /** Bytes in a socket before its client counts as slow. */
  readonly outboxBytes: number;
  /** How much goes wrong with network, KV and processes: 0 to 1. */
  readonly trouble: {
    readonly network: number;
    readonly kv: number;
    readonly processes: number;
  };
  /** Whether a proxy loses and doubles messages on connections that stay. */
  readonly isBroken: boolean;
  /** Whether the KV is set back to a backup once. */
  readonly isRestored: boolean;
  readonly commitMs: number;
  /** Whether it depends on users who reads and writes what. */
  readonly isGuarded: boolean;
}

/** Draws a plan. */
export function drawPlan(random: SeededRandom): Plan {
  const servers = random.pick([1, 1, 2, 2, 2, 3]);
  const trouble = () => random.chance(0.25) ? 0 : random.float();
  const isLong = random.chance(0.07);
  const isBroken = random.chance(0.2);
  const isRestored = random.chance(0.18);
  // What a proxy repeats, or a backup brings back, may be a word about access.
  const isGuarded = !isBroken && !isRestored && random.chance(0.3);
  return {
    servers: isLong ? Math.max(2, servers) : servers,
    clients: random.integer(1, 3),
    moves: random.integer(8, 18),
    stores: pickStores(random),
    latencyMs: random.pick([[0, 0], [0, 3], [1, 20]] as const),
    isLong,
    // The quick poll of a file would make a long sleep expensive.
    isLocal: !isLong && random.chance(0.2),
    sync: isLong || servers > 1 || random.chance(0.8),
    keptVersions: random.pick([1, 1, 3, 10, 1_000]),
    padSize: random.pick(PAD_SIZES),
    outboxBytes: random.pick([2_000, 20_000, 256 * 1024]),
    trouble: { network: trouble(), kv: trouble(), processes: trouble() },
    isBroken,
    isRestored,
    commitMs: random.pick([500, 500, 5_000]),
    isGuarded,
  };
}

function pickStores(random: SeededRandom): readonly string[] {
  if (random.chance(0.4)) return STORES;
  const first = random.pick(DYNAMIC_STORES);
  return random.chance(0.3) ? [first] : [first, random.pick(OTHER_STORES)];
}
