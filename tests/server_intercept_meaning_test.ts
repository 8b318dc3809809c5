/** What an interceptor adds to a write leaves the rest of it as it was meant. */
import assert from "node:assert/strict";
import { runRecipe } from "../protocol/draft.ts";
import { firstTouched } from "../protocol/overlap.ts";
import { applyPatch } from "../protocol/patch.ts";
import type { Json } from "../protocol/value.ts";
import { interceptChange } from "../server/stores/intercept.ts";

interface Board {
  items: { id: string; marks: string[] }[];
  by: string;
}

Deno.test("interceptChange() keeps the write's own steps before those of what it adds", () => {
  const items = ["a", "b"].map((id) => ({ id, marks: [] }));
  const before: Board = { items, by: "" };
  const { state, patch } = runRecipe(before, (draft) => {
    draft.items.splice(0, 1);
  }, { freeze: true });
  const change = { state, patch, value: undefined };
  const changed = interceptChange(
    (updates) => ({ ...updates, by: "them" }),
    change,
    {
      before: before as unknown as Json,
      writer: { user: null },
      name: "Board",
      key: null,
    },
  );
  assert.deepEqual(applyPatch(before as unknown as Json, changed.patch), {
    items: [{ id: "b", marks: [] }],
    by: "them",
  });
  // Whoever marks the removed item meanwhile is told so, and does not mark the other.
  const mark = [{
    op: "add",
    path: ["items", 0, "marks", 0],
    value: "x",
  }] as const;
  assert.equal(firstTouched(changed.patch, [mark]), 0);
});
