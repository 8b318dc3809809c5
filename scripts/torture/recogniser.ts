/**
 * Tells what an atomic operation does by the keys that it touches, and, where
 * these leave it open, by what was seen before in the same process.
 *
 * @module
 */
import { decodeFeedHead } from "../../server/log/event_record.ts";
import { lastString } from "../../server/log/keys.ts";
import { decodeBlobRef } from "../../server/log/blob_ref.ts";
import { decodeHead, type Head } from "../../server/log/head.ts";
import { decodeRecord } from "../../server/log/record.ts";
import type { KvEntry, KvKey } from "../../server/ports.ts";
import type { AtomicKind } from "./points.ts";
import type { AtomicParts } from "./watched_kv.ts";

/** A log entry is a map of six fields that begins with "f"; a snapshot never does. */
const ENTRY_BEGIN = [0x86, 0xa1, 0x66];

/** See the module's documentation. */
export class Recogniser {
  /** Floors, by the life of a store. */
  readonly #floors = new Map<string, number>();
  /** Snapshots that a flip of this process replaced. */
  readonly #replaced = new Set<string>();
  /** Markers that a sweep has read: names of blobs, or of lives of stores. */
  readonly #swept = new Set<string>();
  /** Blobs that hold a large log entry, of those whose chunks were written here. */
  readonly #entryBlobs = new Set<string>();

  /** A range has given an entry: of the markers, it is a sweep's. */
  listed({ key }: KvEntry): void {
    if (kindOf(key) === "pending") this.#swept.add(lastString(key));
  }

  /** What the operation does; several things where they ride together, none where it is not known. */
  name(parts: AtomicParts): AtomicKind[] {
    const written = new Set(parts.sets.map(({ key }) => kindOf(key)));
    if (written.has("secret")) return ["secret"];
    if (written.has("answer")) return ["once"];
    const heads = parts.sets.filter(({ key }) => kindOf(key) === "head");
    const deletions = parts.deletes.filter((key) => kindOf(key) === "head");
    if (heads.length + deletions.length === 0) return this.#nameOther(parts);
    const kinds = new Set<AtomicKind>();
    if (heads.length + deletions.length > 1) kinds.add("entries");
    if (deletions.length > 0) kinds.add("delete");
    for (const { key, value } of heads) {
      for (const kind of this.#nameCommit(parts, key, decodeHead(value))) {
        kinds.add(kind);
      }
    }
    return [...kinds];
  }

  /** The operation took effect. */
  committed(parts: AtomicParts): void {
    const heads = parts.sets.filter(({ key }) => kindOf(key) === "head");
    for (const { value } of heads) {
      const { epoch, floor } = decodeHead(value);
      this.#floors.set(epoch, floor);
    }
    if (heads.length === 0) return;
    // What a commit makes reachable is not to be swept any more.
    for (const blob of markersOf(parts.deletes)) this.#swept.delete(blob);
    for (const { key, value } of parts.sets) {
      if (kindOf(key) !== "pending") continue;
      if (decodeRecord(value, "marker")["k"] === "dead") {
        this.#replaced.add(lastString(key));
      }
    }
  }

  #nameCommit(parts: AtomicParts, key: KvKey, head: Head): AtomicKind[] {
    const kinds: AtomicKind[] = [];
    const consumed = new Set(markersOf(parts.deletes));
    const entry = parts.sets.find((set) =>
      kindOf(set.key) === "log" && set.key[4] === head.epoch
    );
    const isNew = parts.checks.some((check) =>
      check.versionstamp === null && isSame(check.key, key)
    );
    if (isNew) kinds.push("create");
    else if (entry) {
      const blob = decodeBlobRef(entry.value);
      kinds.push(
        !blob ? "entry" : consumed.has(blob.id) ? "large-commit" : "chunked",
      );
    }
    if (head.snapshot && consumed.has(head.snapshot.id)) kinds.push("flip");
    const floor = this.#floors.get(head.epoch);
    if (floor !== undefined && head.floor > floor) kinds.push("floor");
    return kinds;
  }

  #nameOther({ checks, sets, deletes }: AtomicParts): AtomicKind[] {
    const [set] = sets;
    if (set && kindOf(set.key) === "pending") {
      const isNew = checks.some(({ versionstamp }) => versionstamp === null);
      return [isNew ? "marker" : "claim"];
    }
    if (set && kindOf(set.key) === "blob") {
      return [this.#nameChunks(set.key, set.value)];
    }
    const feed = sets.find(({ key }) => kindOf(key) === "feed");
    if (feed && decodeFeedHead(feed.value).hasEvents) return ["events"];
    const [key] = deletes;
    if (!key) return [];
    const life = String(key[4]);
    const blob = String(key[5]);
    switch (kindOf(key)) {
      case "pending":
        return [
          this.#replaced.has(lastString(key)) ? "old-marker" : "sweep-marker",
        ];
      case "log":
        return [this.#swept.has(life) ? "sweep-log" : "trim"];
      case "blob":
        if (this.#replaced.has(blob)) return ["old-chunks"];
        return [
          this.#swept.has(life) || this.#swept.has(blob)
            ? "sweep-chunks"
            : "trim-chunks",
        ];
      default:
        return [];
    }
  }

  #nameChunks(key: KvKey, value: unknown): AtomicKind {
    const blob = String(key[5]);
    const isFirst = key[6] === 0;
    const begin = value instanceof Uint8Array ? value : new Uint8Array();
    if (isFirst && ENTRY_BEGIN.every((byte, at) => begin[at] === byte)) {
      this.#entryBlobs.add(blob);
    }
    return this.#entryBlobs.has(blob)
      ? isFirst ? "large" : "large-more"
      : isFirst
      ? "snapshot"
      : "snapshot-more";
  }
}

/** The part of a key that says what it is of. */
function kindOf(key: KvKey): unknown {
  return key[1];
}

function markersOf(keys: readonly KvKey[]): string[] {
  return keys.filter((key) => kindOf(key) === "pending").map(lastString);
}

function isSame(a: KvKey, b: KvKey): boolean {
  return a.length === b.length && a.every((part, index) => part === b[index]);
}
