/**
 * What takes untrusted bytes, as the fuzzer sees it.
 *
 * @module
 */
import { decodeJson } from "../../protocol/codec.ts";
import type { SeededRandom } from "../../tests/_arbitraries.ts";
import type { Draft, DraftWriter } from "./draft.ts";

/** Says which part of a run is the product's: neither preparations nor checks count. */
export interface StopWatch {
  /** From here on it counts; from the start where it is not called. */
  begin(): void;
  /** Up to here; to the end where it is not called, or where the input is refused. */
  end(): void;
}

/** See the module's documentation. */
export interface Decoder {
  /** Row of the table. */
  readonly name: string;
  /** Bytes that an input has at most, where what gives it holds no more. */
  readonly longest?: number;
  /** A valid input, to be edited. */
  draft(random: SeededRandom): Draft;
  /** Its bytes, where they are more than the draft's. */
  pack?(draft: Draft, writer: DraftWriter): Uint8Array<ArrayBuffer>;
  /**
   * Takes the input, and checks what must hold of what was taken. Returns the row
   * that it belongs to, where that is another one.
   *
   * @throws What refuses it.
   */
  run(
    bytes: Uint8Array<ArrayBuffer>,
    watch: StopWatch,
  ): string | undefined | Promise<string | undefined>;
  /** The row whose own checks have refused the input; undefined where it did not get so far. */
  peek(bytes: Uint8Array): string | undefined;
}

/** {@linkcode Decoder.peek} of a decoder whose input is one value. */
export function peekValue(
  bytes: Uint8Array,
  name: string,
): string | undefined {
  try {
    decodeJson(bytes);
    return name;
  } catch {
    return undefined;
  }
}
