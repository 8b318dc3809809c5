/**
 * Bytes of a valid input with something done to them, and drafts with fields
 * exchanged.
 *
 * @module
 */
import type { SeededRandom } from "../../tests/_arbitraries.ts";
import { type Draft, DraftMap } from "./draft.ts";
import { hostilePath, wrongValue } from "./wrong_values.ts";

/** First bytes of every kind of value. */
const HEADERS = [
  0x00,
  0x7f,
  0x80,
  0x81,
  0x8f,
  0x90,
  0x91,
  0x9f,
  0xa0,
  0xa1,
  0xbf,
  0xe0,
  0xff,
  ...Array.from({ length: 0x20 }, (_, i) => 0xc0 + i),
];

const EDGE_BYTES = [0, 1, 0x7f, 0x80, 0xfe, 0xff];

/** Random bytes; most are short, since few get far. */
export function randomBytes(random: SeededRandom): Uint8Array<ArrayBuffer> {
  const most = random.below(50) === 0 ? 4_096 : 64;
  const bytes = new Uint8Array(random.below(most));
  for (let i = 0; i < bytes.length; i++) bytes[i] = random.below(256);
  return bytes;
}

/** One to three things done to a copy of `bytes`; `other` is what may be spliced in. */
export function mutateBytes(
  bytes: Uint8Array,
  other: Uint8Array,
  random: SeededRandom,
): Uint8Array<ArrayBuffer> {
  let mutated = bytes.slice();
  for (let count = 1 + random.below(3); count > 0; count--) {
    mutated = mutateOnce(mutated, other, random);
  }
  return mutated;
}

function mutateOnce(
  bytes: Uint8Array<ArrayBuffer>,
  other: Uint8Array,
  random: SeededRandom,
): Uint8Array<ArrayBuffer> {
  if (bytes.length === 0) return randomBytes(random);
  const at = random.below(bytes.length);
  switch (random.below(9)) {
    case 0:
      bytes[at]! ^= 1 << random.below(8);
      return bytes;
    case 1: // truncated
      return bytes.slice(0, at);
    case 2: // spliced
      return replaced(bytes, at, {
        until: bytes.length,
        by: other.subarray(random.below(other.length + 1)),
      });
    case 3: // another type
      bytes[at] = random.pick(HEADERS);
      return bytes;
    case 4: // another length or count
      bytes[lengthByte(bytes, at)]! += random.pick([1, 255, 2, 16, 128]);
      return bytes;
    case 5:
      bytes[at] = random.pick(EDGE_BYTES);
      return bytes;
    case 6: { // something twice, such as a key with its value
      const until = Math.min(bytes.length, at + 1 + random.below(12));
      return replaced(bytes, at, { until: at, by: bytes.slice(at, until) });
    }
    case 7: // something missing
      return replaced(bytes, at, {
        until: Math.min(bytes.length, at + 1 + random.below(8)),
        by: new Uint8Array(),
      });
    default: // an integer of 64 bits, or a header that promises much
      return replaced(bytes, at, {
        until: at + 1,
        by: Uint8Array.from([
          random.pick([0xcf, 0xd3, 0xdb, 0xdd, 0xdf, 0xc6, 0xc9, 0xcb]),
          ...Array.from({ length: 8 }, () => random.pick(EDGE_BYTES)),
        ]),
      });
  }
}

function replaced(
  bytes: Uint8Array,
  at: number,
  { until, by }: { until: number; by: Uint8Array },
): Uint8Array<ArrayBuffer> {
  const result = new Uint8Array(at + by.length + bytes.length - until);
  result.set(bytes.subarray(0, at));
  result.set(by, at);
  result.set(bytes.subarray(until), at + by.length);
  return result;
}

/** The next byte from `at` on that holds a length or count; `at` itself where none follows. */
function lengthByte(bytes: Uint8Array, at: number): number {
  for (let i = at; i < bytes.length; i++) {
    const byte = bytes[i]!;
    if (byte >= 0x80 && byte < 0xc0) return i;
    if (
      (byte >= 0xd9 && byte <= 0xdf || byte >= 0xc4 && byte <= 0xc9) &&
      i + 1 < bytes.length
    ) return i + 1;
  }
  return at;
}

/** A place in a draft: where its value is read and written. */
interface Slot {
  readonly holder: Draft[] | DraftMap;
  readonly index: number;
}

/** Changes `times` places of a draft; what holds nothing is replaced as a whole. */
export function editDraft(
  draft: Draft,
  random: SeededRandom,
  times: number,
): Draft {
  let edited = draft;
  for (let count = times; count > 0; count--) {
    const slots: Slot[] = [];
    collect(edited, slots);
    const slot = slots.length > 0 ? random.pick(slots) : undefined;
    if (slot === undefined || random.below(60) === 0) {
      edited = wrongValue(random);
    } else if (slot.holder instanceof DraftMap) {
      editEntry(slot.holder.entries, slot.index, random);
    } else {
      editItem(slot.holder, slot.index, random);
    }
  }
  return edited;
}

function collect(draft: Draft, slots: Slot[]): void {
  // What is far inside is one like the other.
  if (slots.length > 200) return;
  if (Array.isArray(draft)) {
    for (const [index, item] of draft.entries()) {
      slots.push({ holder: draft, index });
      collect(item, slots);
    }
  } else if (draft instanceof DraftMap) {
    for (const [index, [, value]] of draft.entries.entries()) {
      slots.push({ holder: draft, index });
      collect(value, slots);
    }
  }
}

const LETTERS = "abcdefhiklmnopqrstuvwxyz";

function editEntry(
  entries: [Draft, Draft][],
  index: number,
  random: SeededRandom,
): void {
  const entry = entries[index]!; // collected from these entries
  switch (random.below(10)) {
    case 0:
      entries.splice(index, 1);
      return;
    case 1: // a field that nobody knows
      entries.push([random.pick([...LETTERS]), wrongValue(random)]);
      return;
    case 2: // a key twice
      entries.push([entry[0], wrongValue(random)]);
      return;
    case 3:
      entry[0] = random.below(2) === 0
        ? random.pick([...LETTERS])
        : wrongValue(random);
      return;
    case 4: // two fields change places
      [entry[1], entries[0]![1]] = [entries[0]![1], entry[1]];
      return;
    default:
      entry[1] = nextTo(entry[1], random) ?? wrongValue(random);
  }
}

function editItem(items: Draft[], index: number, random: SeededRandom): void {
  switch (random.below(6)) {
    case 0:
      items.splice(index, 1);
      return;
    case 1:
      items.splice(index, 0, wrongValue(random));
      return;
    case 2:
      items.push(items[index]!); // collected from these items
      return;
    case 3:
      items[index] = hostilePath(random);
      return;
    default:
      items[index] = nextTo(items[index]!, random) ?? wrongValue(random); // collected from these
  }
}

/** A number close to the one that is there, such as an index just beyond the end. */
function nextTo(draft: Draft, random: SeededRandom): Draft | undefined {
  if (typeof draft !== "number" || random.below(2) === 0) return undefined;
  return draft + random.pick([-2, -1, 1, 2, 3]);
}
