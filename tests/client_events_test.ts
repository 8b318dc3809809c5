/** Which events a client tells, of those that servers send it. */
import assert from "node:assert/strict";
import { EventFilter } from "../client/event_order.ts";

Deno.test("EventFilter passes each number of a sender once, and none below one that it has passed", () => {
  const filter = new EventFilter();
  const pass = (sender: string, ...numbers: number[]) =>
    numbers.filter((number) => filter.pass({ sender, number }));
  assert.deepEqual(pass("a", 1, 2, 2, 1, 5, 4, 3, 6), [1, 2, 5, 6]);
  assert.deepEqual(pass("b", 3, 1, 4), [3, 4]);
  assert.deepEqual(pass("a", 6, 7), [7]);
});

Deno.test("EventFilter passes what has no place, as often as it comes", () => {
  const filter = new EventFilter();
  assert.deepEqual([filter.pass(undefined), filter.pass(undefined)], [
    true,
    true,
  ]);
});

Deno.test("EventFilter forgets the senders that were silent longest, of more than a thousand", () => {
  const filter = new EventFilter();
  const pass = (sender: string) => filter.pass({ sender, number: 1 });
  filter.pass({ sender: "busy", number: 1 });
  for (let n = 0; n < 999; n++) assert.equal(pass(`s${n}`), true);
  assert.equal(filter.pass({ sender: "busy", number: 2 }), true);
  assert.equal(pass("s0"), false);
  assert.equal(pass("one more"), true);
  assert.equal(pass("busy"), false);
  assert.equal(pass("s1"), false);
  assert.equal(pass("s0"), true);
});
