import assert from "node:assert/strict";
import { Deferred } from "../client/deferred.ts";
import { Pending } from "../client/writing/pending.ts";
import { PendingEntry } from "../client/writing/pending_entry.ts";
import { recipeStep } from "../client/writing/steps.ts";
import { applyPatch, type Patch } from "../protocol/patch.ts";
import type { Json } from "../protocol/value.ts";

interface List {
  items: string[];
}

const START: Json = { items: [] };

/** A write or guess that pushes an item, as it was sent under a number. */
function pushing(item: string, number: number, isGuess = false): PendingEntry {
  const recipe = (draft: List) => void draft.items.push(item);
  const entry = new PendingEntry(recipeStep(recipe as never), { isGuess });
  entry.request = { number, answer: new Deferred() };
  return entry;
}

/** Puts it on top, as sent. */
function send(pending: Pending, entry: PendingEntry): PendingEntry {
  pending.add(entry);
  const at = { name: "List", epoch: "e", base: 1, after: [] };
  entry.sent = { ...at, patch: entry.patch ?? [] };
  return entry;
}

const add = (at: number, value: Json): Patch => [
  { op: "add", path: ["items", at], value },
];

const itemsOf = (pending: Pending) => (pending.state as unknown as List).items; // see START

Deno.test("Pending shows the same object on when the server's state comes to what was written", () => {
  const pending = new Pending(START);
  const [a, b] = ["a", "b", "c"].map((item, at) =>
    send(pending, pushing(item, at + 1))
  );
  const shown = pending.state;
  assert.equal(pending.land([1]), 1);
  const server = applyPatch(START, a!.patch!);
  pending.arrive(server, add(0, "a"), true);
  assert.equal(pending.state, shown);
  pending.land([2]);
  pending.arrive(applyPatch(server, b!.patch!), add(1, "b"), true);
  assert.equal(pending.state, shown);
  // On what others write it is made again all the same.
  pending.arrive({ items: ["x", "a", "b"] }, add(0, "x"), false);
  assert.deepEqual(itemsOf(pending), ["x", "a", "b", "c"]);
});

Deno.test("Pending makes its writes again where the server has made something else of one", () => {
  const pending = new Pending(START);
  send(pending, pushing("a", 1));
  send(pending, pushing("b", 2));
  assert.deepEqual(itemsOf(pending), ["a", "b"]);
  pending.land([1]);
  pending.arrive({ items: ["A"] }, add(0, "A"), true);
  assert.deepEqual(itemsOf(pending), ["A", "b"]);
});

Deno.test("Pending makes its writes again behind a guess that the server has confirmed", () => {
  const pending = new Pending(START);
  pending.add(pushing("guess", 1, true));
  const write = send(pending, pushing("write", 2));
  assert.deepEqual(itemsOf(pending), ["guess", "write"]);
  assert.deepEqual(write.patch, add(0, "write"));
  pending.land([1]);
  pending.arrive({ items: ["guess"] }, add(0, "guess"), true);
  assert.deepEqual(itemsOf(pending), ["guess", "write"]);
  assert.deepEqual(write.patch, add(1, "write"));
});

Deno.test("Pending makes its writes again where one in the middle has landed before the first", () => {
  const pending = new Pending(START);
  send(pending, pushing("a", 1));
  send(pending, pushing("b", 2));
  send(pending, pushing("c", 3));
  pending.land([2]);
  pending.arrive({ items: ["b"] }, add(0, "b"), true);
  assert.deepEqual(itemsOf(pending), ["b", "a", "c"]);
});

Deno.test("Pending makes its writes again where one was taken out that was confirmed otherwise", () => {
  const pending = new Pending(START);
  const first = send(pending, pushing("a", 1));
  send(pending, pushing("b", 2));
  send(pending, pushing("c", 3));
  assert.equal(pending.take([first.request!]), 1);
  pending.land([2]);
  pending.arrive({ items: ["b"] }, add(1, "b"), true);
  assert.deepEqual(itemsOf(pending), ["b", "c"]);
});
