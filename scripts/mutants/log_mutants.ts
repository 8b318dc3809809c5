/**
 * Mistakes in what is stored, read again, compacted, and heard of by other servers.
 *
 * @module
 */
import type { Mutant } from "./mutants.ts";

/** All of them. */
export const LOG_MUTANTS: readonly Mutant[] = [
  {
    name: "calls are numbered by a watermark, though they overlap",
    edits: [{
      file: "server/log/numbers.ts",
      find: "return origin.call < session.oldest",
      replace:
        "return origin.call < Math.max(session.oldest, ...session.calls.keys())",
    }],
  },
  {
    name: "a life does not know what was written to the lives before it",
    edits: [{
      file: "server/log/reader.ts",
      find:
        "if (head.hasPast) numbers.addPast((await readPast(kv, id)).numbers);",
      replace: "",
    }],
  },
  {
    name: "chunks are swept while they are written, and the flip does not look",
    edits: [{
      file: "server/log/blobs.ts",
      find: 'const isStale = k !== "new" || now - firstSeen >= this.#graceMs;',
      replace: "const isStale = true; void [k, firstSeen, now];",
    }, {
      file: "server/log/commit.ts",
      find:
        ".check({ key: pendingKey(ref.id), versionstamp: markerStamp })\n    .delete",
      replace: ".delete",
    }],
  },
  {
    name: "chunks are swept without grace, before their marker is dead",
    edits: [{
      file: "server/log/blobs.ts",
      find: 'const isStale = k !== "new" || now - firstSeen >= this.#graceMs;',
      replace: "const isStale = true; void [k, firstSeen, now];",
    }, {
      file: "server/log/blobs.ts",
      find: "if (!dead.ok) return;",
      replace: "",
    }],
  },
  {
    name: "the floor rises before the snapshot is flipped",
    edits: [{
      file: "server/log/compaction.ts",
      find: "return Math.max(head.floor, reached?.version ?? 0);",
      replace: "return Math.max(head.floor, reached ? head.version : 0);",
    }],
  },
  {
    name: "an older snapshot is swept though the past still needs it",
    edits: [{
      file: "server/log/compaction.ts",
      find: "dropped: older.filter(isBelow),",
      replace: "dropped: older,",
    }],
  },
  {
    name: "the log is cut above its floor",
    edits: [{
      file: "server/log/compaction.ts",
      find: "await deleteRange(kv, logPrefix(id, head.epoch), end);",
      replace:
        "await deleteRange(kv, logPrefix(id, head.epoch), logKey(id, head.epoch, head.version));",
    }],
  },
  {
    name: "the floor is not read again after the log",
    edits: [{
      file: "server/log/reader.ts",
      find:
        "if (now && now.head.epoch === head.epoch && now.head.floor <= from) {",
      replace: "if (now) {",
    }],
  },
  {
    name: "the numbers of writes are not in the snapshot",
    edits: [{
      file: "server/log/compaction.ts",
      find: "const table = encodeJson(numbers.toJson());",
      replace: "const table = encodeJson([]); void numbers;",
    }],
  },
  {
    name: "numbers below the oldest awaited call count as never seen",
    edits: [{
      file: "server/log/numbers.ts",
      find: "? FORGOTTEN\n      : session",
      replace: "? undefined\n      : session",
    }],
  },
  {
    name: "the bell is taken for the message: no poll",
    edits: [{
      file: "server/log/feed_reader.ts",
      find: "this.ring();\n        this.#schedulePoll();",
      replace: "this.#schedulePoll();",
    }],
  },
  {
    name: "the cursor passes what could not be delivered",
    edits: [{
      file: "server/log/feed_reader.ts",
      find: "if (this.#hasMissed) await checkAll();",
      replace: "",
    }],
  },
  {
    name: "a store that another server set back goes on in its epoch",
    edits: [{
      file: "server/stores/catch_up.ts",
      find: 'if (isBehind) return await toStore(kv, id, "fork");',
      replace: 'if (isBehind) return await toStore(kv, id, "jump");',
    }],
  },
  {
    name: "a server's past is not compared with the log's",
    edits: [{
      file: "server/stores/catch_up.ts",
      find:
        "first && (first.from !== known.version || first.previous !== known.writer)",
      replace: "first && first.from !== known.version",
    }],
  },
  {
    name: "a server that slept trusts what is left of the feeds",
    edits: [{
      file: "server/log/feed_reader.ts",
      find: "if (number !== expected && !hasEvents) return false;",
      replace: "",
    }, {
      file: "server/log/feed_reader.ts",
      find: "return expected === slot + 1;",
      replace: "return true;",
    }, {
      file: "server/log/feed_reader.ts",
      find: "if (wasAway) this.#hasMissed = true;",
      replace: "",
    }],
  },
];
