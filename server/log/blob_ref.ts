/**
 * Where a log entry is whose bytes lie apart, as the KV holds it.
 *
 * @module
 */
import { encodeJson } from "../../protocol/codec.ts";
import { decodeRecord, text, uint } from "./record.ts";

/** Bytes that lie in the KV as immutable chunks. */
export interface BlobRef {
  readonly id: string;
  readonly chunks: number;
  readonly bytes: number;
}

/** The value of a log key whose entry lies in chunks. */
export function encodeBlobRef(blob: BlobRef): Uint8Array<ArrayBuffer> {
  return encodeJson({ z: [blob.id, blob.chunks, blob.bytes] });
}

/** The chunks of a log value, or undefined where the entry is in the value itself. */
export function decodeBlobRef(value: unknown): BlobRef | undefined {
  const z = decodeRecord(value, "log entry")["z"] as
    | [string, number, number]
    | undefined;
  return z && { id: text(z[0]), chunks: uint(z[1]), bytes: uint(z[2]) };
}
