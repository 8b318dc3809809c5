/**
 * Small mistakes that could be made in the product, each of which would break a
 * promise: `deno task mutants` plants them one by one and lets the simulator look.
 *
 * @module
 */

import { WRITE_MUTANTS } from "./write_mutants.ts";

/** In `file`, `find`, which stands there once, becomes `replace`. */
export interface Edit {
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

/** One mistake; several edits where one alone is made good by another rule. */
export interface Mutant {
  readonly name: string;
  readonly edits: readonly Edit[];
}

/** Those in what servers store and clients are shown. */
const STORE_MUTANTS: readonly Mutant[] = [
  {
    name: "a write that was seen is made again",
    edits: [{
      file: "server/stores/commit_queue.ts",
      find: "(numbers.find(origin, pending.source.isResent) ??",
      replace: "((void numbers, undefined) ??",
    }],
  },
  {
    name:
      "two of a call's writes in one batch are not told apart from a resend",
    edits: [{
      file: "server/stores/commit_queue.ts",
      find: "return `${origin.session} ${origin.call} ${origin.n}`;",
      replace: "return `${origin.session} ${origin.call}`;",
    }],
  },
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
    name: "a refusal is not recorded",
    edits: [{
      file: "server/stores/commit_queue.ts",
      find:
        "mutations.push({ patch: [], origin, refused });\n        sizes.push(0);",
      replace: "",
    }],
  },
  {
    name: "what a recipe returned is not recorded",
    edits: [{
      file: "server/stores/commit_queue.ts",
      find: "return value === undefined ? {} : { value };",
      replace: "return value === undefined ? {} : { value: null };",
    }],
  },
  {
    name: "the next batch begins from the state before this one",
    edits: [{
      file: "server/stores/commit_queue.ts",
      find: "({ state } = change);",
      replace: "if (mutations.length % 7 !== 3) ({ state } = change);",
    }],
  },
  {
    name: "all that waits is settled with a batch, and its rest dropped",
    edits: [{
      file: "server/stores/commit_queue.ts",
      find: "this.#pending = this.#pending.slice(outcomes.length);",
      replace: "this.#pending = [];",
    }],
  },
  {
    name: "a write of unknown outcome is said not to be applied",
    edits: [{
      file: "server/stores/commit_queue.ts",
      find: 'outcome: index < tried ? "unknown" : "notApplied",',
      replace: 'outcome: "notApplied",',
    }],
  },
  {
    name: "the head is not checked by a commit",
    edits: [{
      file: "server/log/commit.ts",
      find: "atomic.check({ key: headKey(id), versionstamp: commit.stamp });",
      replace: "",
    }],
  },
  {
    name: "a feed's slot is not checked",
    edits: [{
      file: "server/log/commit.ts",
      find: ".check({ key: slot, versionstamp: null })",
      replace: "",
    }],
  },
  {
    name: "the bell is not rung",
    edits: [{
      file: "server/log/commit.ts",
      find: ".sum(bellKey(), 1n);",
      replace: ";",
    }],
  },
  {
    name: "retry after a time-out without a look at the slot",
    edits: [{
      file: "server/log/atomic_writer.ts",
      find: "return landed ? { ok: true, stamp: undefined } : { ok: false };",
      replace: "void landed; return { ok: false };",
    }],
  },
  {
    name: "a slot that was filled late is used again",
    edits: [{
      file: "server/log/atomic_writer.ts",
      find: "if (holder === undefined) return;\n    this.#slot++;",
      replace: "if (holder === undefined) return;",
    }],
  },
  {
    name: "a write is acknowledged before it is committed",
    edits: [{
      file: "server/stores/committer.ts",
      find: "this.#batch = batch;\n    const { expiresAtMs",
      replace:
        'this.#batch = batch; for (const o of batch.outcomes) if ("written" in o) o.pending.resolve(o.written);\n    const { expiresAtMs',
    }],
  },
  {
    name: "a commit whose outcome is not known is not settled",
    edits: [{
      file: "server/stores/committer.ts",
      find:
        "if (this.#memory.head && (commit || this.#doubt.isDue)) this.#doubt.begin();",
      replace: "",
    }],
  },
  {
    name: "the writes of a failed commit are tried again by themselves",
    edits: [{
      file: "server/stores/committer.ts",
      find: "this.#queue.reject(error, tried ?? 0);",
      replace: "void tried; this.#lane.add(this);",
    }],
  },
  {
    name: "the epoch of a store's next life is that of the last",
    edits: [{
      file: "server/stores/store_memory.ts",
      find: "this.#epoch = newId(env.random);",
      replace: "this.#epoch = `epoch of ${id.name}`;",
    }],
  },
  {
    name: "an entry of the feed is taken whatever it follows",
    edits: [{
      file: "server/stores/store_memory.ts",
      find:
        'return entry.from === this.version &&\n      entry.previous === (this.#head?.writer ?? "");',
      replace: "return entry.from >= this.version;",
    }],
  },
  {
    name: "the numbers of what others wrote are not noted",
    edits: [{
      file: "server/stores/store_memory.ts",
      find: "this.#numbers.add(mutation, from + index + 1);",
      replace: "if (result) this.#numbers.add(mutation, from + index + 1);",
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
    name: "the commit that begins a life does not look at the past again",
    edits: [{
      file: "server/log/commit.ts",
      find: "if (commit.pastStamp !== undefined) {",
      replace:
        "if (commit.pastStamp === undefined && commit.id === undefined) {",
    }],
  },
  {
    name: "a deleted life leaves no numbers behind",
    edits: [{
      file: "server/log/commit.ts",
      find: "if (commit.past) {",
      replace: "if (commit.past && commit.id === undefined) {",
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
    name: "a resume does not look at who wrote the token's version",
    edits: [{
      file: "server/stores/resume.ts",
      find:
        "if (made === token.version && writer !== token.writer) return undefined;",
      replace: "",
    }],
  },
  {
    name: "a client that is ahead is served as if it were not",
    edits: [{
      file: "server/stores/resume.ts",
      find:
        "if (token.epoch === store.epoch && token.version > store.version) {",
      replace: "if (token.epoch === store.epoch && token.version < 0) {",
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
    name: "an answer does not wait for the patch that it promises",
    edits: [{
      file: "server/connection.ts",
      find: "if (this.#shows(answer)) this.outbox.push(answer.frame);",
      replace: "if (true) this.outbox.push(answer.frame);",
    }],
  },
  {
    name: "the outbox is never full",
    edits: [{
      file: "server/outbox.ts",
      find: "if (this.#isHeld) return true;",
      replace: "if (this) return false;",
    }],
  },
  {
    name: "the client ignores a gap",
    edits: [{
      file: "client/replica.ts",
      find: 'if (from !== current.version) return "gap";',
      replace: "",
    }],
  },
  {
    name: "the client takes an older snapshot of its epoch",
    edits: [{
      file: "client/replica.ts",
      find:
        "if (version !== current.version) return version > current.version;",
      replace: "if (version !== current.version) return true;",
    }],
  },
  {
    name: "the client forgets what it sent when the connection is lost",
    edits: [{
      file: "client/outbox_queue.ts",
      find: "this.due = new Set([...this.sent.values(), ...this.due]);",
      replace: "",
    }],
  },
  {
    name: "the client gives a resent call another number",
    edits: [{
      file: "client/outbox_queue.ts",
      find: "call.number ??= this.nextNumber++;",
      replace: "call.number = this.nextNumber++;",
    }],
  },
  {
    name: "the client keeps no session over a reconnect",
    edits: [{
      file: "client/outbox_session.ts",
      find: "hasNumbers ? { session: issued.token }",
      replace: "hasNumbers ? { identity: issued.token }",
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
  {
    name: "the client applies a patch twice",
    edits: [{
      file: "client/replica.ts",
      find: 'if (version <= current.version) return "ignored";',
      replace: "",
    }, {
      file: "client/replica.ts",
      find: 'if (from !== current.version) return "gap";',
      replace: 'if (from > current.version) return "gap";',
    }],
  },
  {
    name: "a client that has seen the next life is shown the one before",
    edits: [{
      file: "server/stores/resume.ts",
      find: "if (store.isGone) {",
      replace: "if (store.isGone && !store.id) {",
    }],
  },
  {
    name: "an answer from another life does not wait for its end to be noticed",
    edits: [{
      file: "server/calls.ts",
      find: "if (store.epoch !== epoch || store.version < version)",
      replace: "if (store.epoch === epoch && store.version < version)",
    }],
  },
  {
    name: "an answer does not wait for a store that is being opened",
    edits: [{
      file: "server/subscription.ts",
      find: "if (!this.#store) return this.#isOver;",
      replace: "if (!this.#store) return true;",
    }],
  },
  {
    name: "a write of a resent call that fails now is said not to be applied",
    edits: [{
      file: "server/stores/access.ts",
      find: "throw source.isResent ? inDoubt(error) : error;",
      replace: "throw error;",
    }, {
      file: "server/calls.ts",
      find: "return frame.resent ? { ...answer, frame: doubtful } : answer;",
      replace: "void doubtful; return answer;",
    }],
  },
  {
    name: "a refusal is another error when it is repeated",
    edits: [{
      file: "server/stores/commit_queue.ts",
      find: "outcomes.push({ pending, error: toError(refused, error) });",
      replace: "outcomes.push({ pending, error });",
    }],
  },
  {
    name: "after its next conflict a server waits as long as it slept",
    edits: [{
      file: "server/log/rivalry.ts",
      find: "const counted = Math.min(ROUND_MAX_MS, ms);",
      replace: "const counted = ms;",
    }, {
      file: "server/log/rivalry.ts",
      find:
        "const ms = Math.min(WAIT_MAX_MS, Math.max(TRY_MS, roundMs) * 2 ** step);",
      replace: "const ms = Math.max(TRY_MS, roundMs) * 2 ** step;",
    }],
  },
  {
    name: "a welcome that comes twice numbers calls anew",
    edits: [{
      file: "client/outbox_session.ts",
      find: 'if (frame.session === issued?.token) return "same";',
      replace: "",
    }],
  },
  {
    name: "the last words to a subscription that was left reach the next one",
    edits: [{
      file: "client/subscriptions.ts",
      find: "this.#leaving.has(name) ? undefined : this.#byName",
      replace: "this.#byName",
    }],
  },
];

/** All of them. */
export const MUTANTS: readonly Mutant[] = [...STORE_MUTANTS, ...WRITE_MUTANTS];
