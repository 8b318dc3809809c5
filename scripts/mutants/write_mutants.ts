/**
 * Mistakes in what clients write: how it is shown, sent, compared with what others
 * wrote, and committed.
 *
 * @module
 */
import type { Mutant } from "./mutants.ts";

/** All of them, from the rules for patches to the client. */
export const WRITE_MUTANTS: readonly Mutant[] = [
  {
    name: "two patches are compared without what arrays have shifted",
    edits: [
      {
        file: "protocol/overlap.ts",
        find: 'const isMoved = depth === last && first.op !== "replace";',
        replace: "const isMoved = false; void last;",
      },
    ],
  },
  {
    name: "two patches are compared without their beginnings",
    edits: [
      {
        file: "protocol/overlap.ts",
        find: "    if (isMoved) return true;\n  }\n  return true;",
        replace:
          "    if (isMoved) return true;\n  }\n  return first.path.length === second.path.length;",
      },
    ],
  },
  {
    name: "what a patch itself has moved is not counted",
    edits: [
      { file: "protocol/overlap.ts", find: "shifts.add(step);", replace: "" },
    ],
  },
  {
    name: "the own writes below a write need not be there",
    edits: [
      {
        file: "server/stores/client_changes.ts",
        find:
          "if (!before || before.refused || before.isPast) return undefined;",
        replace: "void before;",
      },
    ],
  },
  {
    name: "a patch is taken in whatever life of the store",
    edits: [
      {
        file: "server/stores/client_changes.ts",
        find: "if (epoch !== context.epoch) return undefined;",
        replace: "void epoch;",
      },
      // It is asked for before, too.
      {
        file: "server/write_parts.ts",
        find:
          'life: meansLife && write.epoch !== "" ? write.epoch : undefined,',
        replace: "life: void meansLife,",
      },
    ],
  },
  {
    name: "a patch is taken whatever others have written",
    edits: [
      {
        file: "server/stores/client_changes.ts",
        find:
          "else if (firstTouched(mutation.patch, laters) >= 0) return false;",
        replace: "",
      },
    ],
  },
  {
    name: "expectVersion is ignored",
    edits: [
      {
        file: "server/write_parts.ts",
        find: "isExact: frame.exact === true",
        replace: "isExact: false",
      },
    ],
  },
  {
    name: "a conflict is told before what it is about",
    edits: [
      {
        file: "server/writes.ts",
        find: "const written = isBehind ? this.#positionsOf(parts) : [];",
        replace: "void isBehind; const written: WrittenTo[] = [];",
      },
    ],
  },
  {
    name: "the writes of a client are made in any order",
    edits: [
      {
        file: "server/writes.ts",
        find: "await before;",
        replace: "void before;",
      },
    ],
  },
  {
    name: "a client's write that is sent again is taken for a new one",
    edits: [
      {
        file: "server/write_parts.ts",
        find: "const { resent: isResent = false } = frame;",
        replace: "const isResent = false;",
      },
    ],
  },
  {
    name: "the refusal of a client's write that is sent again is forgotten",
    edits: [
      {
        file: "server/write_parts.ts",
        find: "forgetsRefusal: !isResent",
        replace: "forgetsRefusal: true",
      },
    ],
  },
  {
    name: "a batch is committed one by one",
    edits: [
      {
        file: "server/writes.ts",
        find: ": await this.#commitTogether(env, parts);",
        replace:
          ": await Promise.all(parts.map((one) => this.#commit(one, queued)));",
      },
    ],
  },
  {
    name: "the interceptor does not see what clients write",
    edits: [
      {
        file: "server/stores/batch.ts",
        find: "const guarded = this.#guard(state, made, source.writer);",
        replace:
          "const guarded = source.forgetsRefusal === undefined ? this.#guard(state, made, source.writer) : made;",
      },
    ],
  },
  {
    name: "a client is not told which of its writes a frame shows",
    edits: [
      {
        file: "server/subscription.ts",
        find: "if (!calls || calls.length === 0) return outbox.push(frame);",
        replace: "if (!calls || calls.length >= 0) return outbox.push(frame);",
      },
    ],
  },
  {
    name: "the stores of a transaction are sent one by one",
    edits: [
      {
        file: "server/stores/joint_delivery.ts",
        find: "if (!receiver) return subscriber.patched(from, delivery);",
        replace:
          "if (receiver || !receiver) return subscriber.patched(from, delivery);",
      },
    ],
  },
  {
    name: "what the server's state contains is still shown on top of it",
    edits: [
      {
        file: "client/writing/pending.ts",
        find: "return !entry.hasLanded;",
        replace: "return true;",
      },
    ],
  },
  {
    name: "a guess is shown until its call is answered",
    edits: [
      {
        file: "client/writing/pending.ts",
        find:
          "entry.hasLanded = number !== undefined && landed.has(number) && !isOpen;",
        replace:
          "entry.hasLanded = !entry.isGuess && number !== undefined && landed.has(number) && !isOpen;",
      },
    ],
  },
  {
    name: "a client's write is not made again where others have written",
    edits: [
      {
        file: "client/writing/pending.ts",
        find: "if (first < 0) return;",
        replace: "if (first < Infinity) return;",
      },
      // What its patch leads to is compared, too, before it is kept.
      {
        file: "client/writing/pending.ts",
        find: "(before !== state && !meansTheSame(patch, before, state));",
        replace: "(before !== state && patch.length === 0);",
      },
    ],
  },
  {
    name: "a write is sent again as it was, on another base",
    edits: [
      {
        file: "client/writing/pending.ts",
        find: ": { ...place, patch: patch ?? [] };",
        replace:
          ': { ...place, patch: (sent && "patch" in sent ? sent.patch : patch) ?? [] };',
      },
    ],
  },
  {
    name: "a refused write is not made again before it is sent again",
    edits: [
      {
        file: "client/writing/pending.ts",
        find:
          "    for (const entry of this.#entries.slice(first)) entry.isStale = true;\n    this.#isDue = true;\n    return true;",
        replace: "    return true;",
      },
    ],
  },
  {
    name: "a write whose answer was lost is sent again without what it writes",
    edits: [
      {
        file: "client/writing/write_request.ts",
        find: "const write = made.get(entry) ?? entry.sent;",
        replace: "const write = made.get(entry);",
      },
    ],
  },
  {
    name: "a refused write is made again on the state that it was refused on",
    edits: [
      {
        file: "client/writing/write_request.ts",
        find: "return this.#isRefused &&",
        replace: "return !this.#pending &&",
      },
    ],
  },
  {
    name: "what waits for a connection is sent in another order",
    edits: [
      {
        file: "client/outbox_queue.ts",
        find: "this.due = new Set([...this.sent.values(), ...this.due]);",
        replace:
          "this.due = new Set([...this.sent.values(), ...[...this.due].reverse()]);",
      },
    ],
  },
  {
    name: "a failed write is still shown",
    edits: [
      {
        file: "client/writing/write_request.ts",
        find: "  fail(cause: unknown): Error {\n    this.#drop();",
        replace: "  fail(cause: unknown): Error {",
      },
    ],
  },
];
