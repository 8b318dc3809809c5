/**
 * Values that stand where something else is expected.
 *
 * @module
 */
import { DEFAULT_LIMITS } from "../../protocol/limits.ts";
import type { SeededRandom } from "../../tests/_arbitraries.ts";
import { type Draft, DraftMap } from "./draft.ts";

/** Texts that have tripped implementations up. */
export const HOSTILE_TEXTS: readonly string[] = [
  "",
  " ",
  "__proto__",
  "constructor",
  "prototype",
  "toString",
  "hasOwnProperty",
  "length",
  "then",
  "e\u0301",
  "\u1100\u1161\u11a8",
  "\u0000",
  "a\u2028b",
  "\u007f",
  "\ufeffmark",
  "\u{1f469}\u200d\u{1f680}",
  "../../etc/passwd",
  "Room:*",
  "Room:",
  ":",
  "*",
  "%00",
  "a".repeat(200),
  "a".repeat(201),
  "n".repeat(4096),
  // 200 characters that normal form C makes 400 or 600 of.
  "\u0958".repeat(200),
  "\ufb2c".repeat(200),
];

/** Numbers at the edges of what bytes and doubles hold. */
export const EDGE_NUMBERS: readonly number[] = [
  0,
  -0,
  -1,
  0.5,
  -33,
  127,
  128,
  255,
  65_535,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32 - 2,
  2 ** 32 - 1,
  2 ** 32,
  2 ** 53 - 1,
  2 ** 53,
  2 ** 63,
  2 ** 64,
  -(2 ** 53),
  1e308,
  5e-324,
  NaN,
  Infinity,
  -Infinity,
];

const RAW: readonly Uint8Array[] = [
  // Headers that promise what never comes: str, bin, array, map, ext.
  [0xdb, 0xff, 0xff, 0xff, 0xff],
  [0xda, 0xff, 0xff],
  [0xc6, 0xff, 0xff, 0xff, 0xff],
  [0xdd, 0xff, 0xff, 0xff, 0xff],
  [0xdd, 0x00, 0x00, 0xff, 0xff],
  [0xdf, 0xff, 0xff, 0xff, 0xff],
  [0xde, 0x7f, 0xff],
  [0xc9, 0xff, 0xff, 0xff, 0xff, 0x01],
  // Complete ones that are not JSON.
  [0xc4, 2, 1, 2],
  [0xd4, 1, 0],
  [0xd6, 0xff, 0, 0, 0, 0],
  [0xc7, 1, 5, 0],
  [0xc1],
  // Integers of 64 bits.
  [0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
  [0xcf, 0x00, 0x20, 0, 0, 0, 0, 0, 0],
  [0xcf, 0x00, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
  [0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0],
  [0xd3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
  // Texts: lone surrogates, overlong, cut short, not UTF-8 at all.
  [0xa3, 0xed, 0xa0, 0x80],
  [0xa6, 0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80],
  [0xa2, 0xc0, 0x80],
  [0xa1, 0xff],
  [0xa1, 0xe2],
  [0xa4, 0xf4, 0x90, 0x80, 0x80],
].map((bytes) => Uint8Array.from(bytes));

const DEPTHS = [
  1,
  DEFAULT_LIMITS.depth - 1,
  DEFAULT_LIMITS.depth,
  DEFAULT_LIMITS.depth + 1,
  DEFAULT_LIMITS.depth + 2,
  500,
  512,
  513,
  5_000,
];

/** A value of some kind that is most likely not the one that belongs there. */
export function wrongValue(random: SeededRandom): Draft {
  switch (random.below(13)) {
    case 0:
      return null;
    case 1:
      return random.below(2) === 0;
    case 2:
    case 3:
    case 4:
      return random.pick(EDGE_NUMBERS);
    case 5:
    case 6:
      return random.pick(HOSTILE_TEXTS);
    case 7:
    case 8:
      return random.pick(RAW);
    case 9:
      return Array.from({ length: random.below(4) }, () => random.below(5));
    case 10:
      return new DraftMap(
        random.below(2) === 0 ? [] : [[random.pick(HOSTILE_TEXTS), 1]],
      );
    case 11:
      // Large ones cost what they hold, so there are few.
      return random.below(100) === 0 ? wide(random) : [];
    default:
      return random.below(10) === 0 ? nested(random) : [[]];
  }
}

/** Arrays within arrays, or maps within maps, around the limits. */
function nested(random: SeededRandom): Uint8Array {
  const depth = random.pick(DEPTHS);
  const step = random.below(2) === 0 ? [0x91] : [0x81, 0xa1, 0x61];
  const bytes = new Uint8Array(depth * step.length + 1);
  for (let i = 0; i < depth; i++) bytes.set(step, i * step.length);
  return bytes; // a 0 is inside
}

/** One array or map of many members. */
function wide(random: SeededRandom): Draft {
  const count = random.pick([1_000, 5_000, 20_000, 49_000]);
  if (random.below(2) === 0) return new Array<Draft>(count).fill(1);
  return new DraftMap(
    Array.from({ length: count }, (_, key) => [key.toString(36), 0]),
  );
}

/** A path for a patch: through prototypes, beyond arrays, too long. */
export function hostilePath(random: SeededRandom): Draft {
  if (random.below(12) === 0) {
    return new Array<Draft>(random.pick([64, 65, 300])).fill("a");
  }
  return Array.from(
    { length: random.below(4) },
    () =>
      random.below(2) === 0
        ? random.pick([...HOSTILE_TEXTS, "items", "a", "b"])
        : random.pick([...EDGE_NUMBERS, 0, 1, 2, 3, 4]),
  );
}
