/**
 * Mistakes in what clients are sent, what they make of it, and what they send again.
 *
 * @module
 */
import type { Mutant } from "./mutants.ts";

/** All of them. */
export const DELIVERY_MUTANTS: readonly Mutant[] = [
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
    name: "an answer does not wait for the patch that it promises",
    edits: [{
      file: "server/connection.ts",
      find: "if (this.#maySend(answer)) this.outbox.push(answer.frame);",
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
      file: "server/stores/numbered_writes.ts",
      find: "throw source.isResent ? inDoubt(error) : error;",
      replace: "throw error;",
    }, {
      file: "server/calls.ts",
      find: "return frame.resent ? { ...answer, frame: doubtful } : answer;",
      replace: "void doubtful; return answer;",
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
