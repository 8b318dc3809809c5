/**
 * Looks at frames without decoding them: the load must cost less than the
 * server that it measures.
 *
 * @module
 */

/** What the load wants to know of a frame. */
export interface WalkedFrame {
  /** Field `t`; 0 for a patch, which has none. */
  type: number;
  /** Field `v`: the version that a patch, snapshot or resume leads to. */
  version: number;
  /** Field `f`: the version that a patch or resume begins at; -1 where it is absent. */
  from: number;
  /** Field `i`: the number of the call that is answered. */
  call: number;
  /** Whether there is a field `e`, which in an answer is an error. */
  hasE: boolean;
}

const frame: WalkedFrame = {
  type: 0,
  version: 0,
  from: -1,
  call: 0,
  hasE: false,
};

/** Calls `visit` for each frame of a message; the object is the same each time. */
export function walkFrames(
  message: Uint8Array,
  visit: (frame: WalkedFrame) => void,
): void {
  for (let at = 0; at < message.length;) {
    at = walkFrame(message, at);
    visit(frame);
  }
}

function walkFrame(bytes: Uint8Array, start: number): number {
  const head = bytes[start]!;
  if (head >> 4 !== 0x8) {
    throw new Error(`A frame begins with ${head}, which is no small map`);
  }
  frame.type = frame.version = frame.call = 0;
  frame.from = -1;
  frame.hasE = false;
  let at = start + 1;
  for (let entries = head & 0x0f; entries > 0; entries--) {
    const key = bytes[at + 1]; // keys are of one letter: 0xa1, the letter
    at += 2;
    if (key === 0x74) frame.type = readUint(bytes, at);
    else if (key === 0x76) frame.version = readUint(bytes, at);
    else if (key === 0x66) frame.from = readUint(bytes, at);
    else if (key === 0x69) frame.call = readUint(bytes, at);
    else if (key === 0x65) frame.hasE = true;
    at = skip(bytes, at);
  }
  return at;
}

function readUint(bytes: Uint8Array, at: number): number {
  const head = bytes[at]!;
  if (head < 0x80) return head;
  if (head === 0xcc) return bytes[at + 1]!;
  if (head === 0xcd) return bytes[at + 1]! << 8 | bytes[at + 2]!;
  if (head === 0xce) return length32(bytes, at + 1);
  return 0;
}

function length32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24 | bytes[at + 1]! << 16 | bytes[at + 2]! << 8 |
    bytes[at + 3]!) >>> 0;
}

/** Where the value that begins at `at` ends. */
function skip(bytes: Uint8Array, at: number): number {
  for (let left = 1; left > 0; left--) {
    const head = bytes[at]!;
    if (head < 0x80 || head >= 0xe0) at += 1;
    else if (head < 0x90) left += 2 * (head & 0x0f), at += 1;
    else if (head < 0xa0) left += head & 0x0f, at += 1;
    else if (head < 0xc0) at += 1 + (head & 0x1f);
    else if (head <= 0xc3) at += 1;
    else if (head === 0xcb || head === 0xcf || head === 0xd3) at += 9;
    else if (head === 0xca || head === 0xce || head === 0xd2) at += 5;
    else if (head === 0xcd || head === 0xd1) at += 3;
    else if (head === 0xcc || head === 0xd0) at += 2;
    else if (head === 0xd9) at += 2 + bytes[at + 1]!;
    else if (head === 0xda) at += 3 + (bytes[at + 1]! << 8 | bytes[at + 2]!);
    else if (head === 0xdb) at += 5 + length32(bytes, at + 1);
    else if (head === 0xdc) {
      left += bytes[at + 1]! << 8 | bytes[at + 2]!, at += 3;
    } else if (head === 0xdd) left += length32(bytes, at + 1), at += 5;
    else if (head === 0xde) {
      left += 2 * (bytes[at + 1]! << 8 | bytes[at + 2]!), at += 3;
    } else if (head === 0xdf) left += 2 * length32(bytes, at + 1), at += 5;
    else throw new Error(`A value begins with ${head}`);
  }
  return at;
}
