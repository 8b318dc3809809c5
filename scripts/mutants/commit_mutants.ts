/**
 * Mistakes in how writes are run, committed and told of.
 *
 * @module
 */
import type { Mutant } from "./mutants.ts";

/** All of them. */
export const COMMIT_MUTANTS: readonly Mutant[] = [
  {
    name: "a write that was seen is made again",
    edits: [{
      file: "server/stores/batch.ts",
      find: "(numbers.find(origin, pending.source.isResent) ??",
      replace: "((void numbers, undefined) ??",
    }],
  },
  {
    name:
      "two of a call's writes in one batch are not told apart from a resend",
    edits: [{
      file: "server/stores/batch.ts",
      find: "return `${origin.session} ${origin.call} ${origin.n}`;",
      replace: "return `${origin.session} ${origin.call}`;",
    }],
  },
  {
    name: "a refusal is not recorded",
    edits: [{
      file: "server/stores/batch.ts",
      find:
        "mutations.push({ patch: [], origin, refused });\n        sizes.push(0);",
      replace: "",
    }],
  },
  {
    name: "what a recipe returned is not recorded",
    edits: [{
      file: "server/stores/batch.ts",
      find: "return value === undefined ? {} : { value };",
      replace: "return value === undefined ? {} : { value: null };",
    }],
  },
  {
    name: "the next batch begins from the state before this one",
    edits: [{
      file: "server/stores/batch.ts",
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
    name: "a refusal is another error when it is repeated",
    edits: [{
      file: "server/stores/batch.ts",
      find: "outcomes.push({ error: toError(refused, error) });",
      replace: "outcomes.push({ error });",
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
];
