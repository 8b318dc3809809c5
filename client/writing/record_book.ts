/**
 * How much the kept records take, and which of them have changed. This module is
 * browser compatible.
 *
 * @module
 */
import { recordBytes } from "./kept_records.ts";

/** See the module's documentation. */
export class RecordBook {
  readonly #bytes = new Map<string, number>();
  #totalBytes = 0;
  #changes = new Map<string, string | undefined>();

  /** Bytes of all. */
  get totalBytes(): number {
    return this.#totalBytes;
  }

  /** Begins with what is kept. */
  begin(records: ReadonlyMap<string, string>): void {
    for (const [key, text] of records) this.#count(key, text);
  }

  /** Bytes of one; 0 where there is none. */
  bytesOf(key: string): number {
    return this.#bytes.get(key) ?? 0;
  }

  /** Puts a record in the place of another, or deletes it. */
  put(key: string, text: string | undefined): void {
    this.#totalBytes -= this.bytesOf(key);
    this.#bytes.delete(key);
    this.#changes.set(key, text);
    if (text !== undefined) this.#count(key, text);
  }

  /** What was put since the last time. */
  takeChanges(): ReadonlyMap<string, string | undefined> {
    const changes = this.#changes;
    this.#changes = new Map();
    return changes;
  }

  #count(key: string, text: string): void {
    const bytes = recordBytes(key, text);
    this.#bytes.set(key, bytes);
    this.#totalBytes += bytes;
  }
}
