import assert from "node:assert/strict";
import { Replica } from "../client/replica.ts";
import { patch, resume, snap } from "./_fake_socket.ts";

const STATE = { items: [{ done: false }], title: "Today" };

function replica(version = 1): Replica {
  const made = new Replica();
  made.snapshot(snap({ version, state: structuredClone(STATE) }));
  return made;
}

Deno.test("Replica has nothing, and no token, before a snapshot", () => {
  const empty = new Replica();
  assert.equal(empty.current, undefined);
  assert.equal(empty.token, undefined);
  assert.equal(empty.patch(patch(1, ["title"], "x")), "gap");
  assert.equal(empty.resume(resume({})), "gap");
  assert.equal(empty.current, undefined);
});

Deno.test("Replica.snapshot() sets the state and the token", () => {
  const { current, token } = replica(7);
  assert.deepEqual(current?.state, STATE);
  assert.deepEqual(token, { epoch: "e1", version: 7, writer: "w1" });
});

Deno.test("Replica.snapshot() never goes backwards within an epoch", () => {
  const made = replica(7);
  const { current } = made;
  assert.equal(made.snapshot(snap({ version: 6, state: "old" })), "ignored");
  assert.equal(
    made.snapshot(snap({ version: 7, state: "the same" })),
    "ignored",
  );
  assert.equal(made.current, current);
  assert.equal(
    made.snapshot(snap({ version: 7, writer: "w2", state: "another history" })),
    "changed",
  );
  assert.equal(
    made.snapshot(snap({ version: 2, epoch: "e2", state: "another life" })),
    "changed",
  );
  assert.deepEqual(made.token, { epoch: "e2", version: 2, writer: "w1" });
});

Deno.test("Replica.patch() applies only to the exact version", () => {
  const made = replica(7);
  assert.equal(made.patch(patch(7, ["title"], "seven")), "ignored");
  assert.equal(made.patch(patch(3, ["title"], "three")), "ignored");
  assert.equal(made.patch(patch(9, ["title"], "nine")), "gap");
  assert.equal(
    made.patch(patch(9, ["title"], "five to nine", { from: 5 })),
    "gap",
  );
  assert.deepEqual(made.current?.state, STATE);
  assert.equal(
    made.patch(patch(9, ["title"], "seven to nine", { from: 7 })),
    "changed",
  );
  assert.deepEqual(made.current?.state, { ...STATE, title: "seven to nine" });
  assert.deepEqual(made.token, { epoch: "e1", version: 9, writer: "w1" });
});

Deno.test("Replica.patch() keeps the writer until a patch names another", () => {
  const made = replica();
  made.patch(patch(2, ["title"], "a"));
  assert.equal(made.token?.writer, "w1");
  made.patch(patch(3, ["title"], "b", { writer: "w2" }));
  assert.equal(made.token?.writer, "w2");
  made.patch(patch(4, ["title"], "c"));
  assert.equal(made.token?.writer, "w2");
});

Deno.test("Replica.resume() applies only from its own token", () => {
  const ops = [{ op: "replace", path: ["title"], value: "resumed" }] as const;
  const made = replica(7);
  assert.equal(
    made.resume(resume({ from: 7, version: 9, patch: ops, epoch: "e2" })),
    "gap",
  );
  assert.equal(made.resume(resume({ from: 6, version: 9, patch: ops })), "gap");
  assert.equal(made.resume(resume({ from: 8, version: 9, patch: ops })), "gap");
  assert.equal(
    made.resume(resume({ from: 5, version: 6, patch: ops })),
    "ignored",
  );
  assert.equal(made.resume(resume({ from: 7, version: 7 })), "ignored");
  assert.deepEqual(made.current?.state, STATE);
  assert.equal(
    made.resume(resume({ from: 7, version: 9, writer: "w3", patch: ops })),
    "changed",
  );
  assert.deepEqual(made.current?.state, { ...STATE, title: "resumed" });
  assert.deepEqual(made.token, { epoch: "e1", version: 9, writer: "w3" });
});

Deno.test("Replica trusts nothing but a snapshot after a patch that cannot be applied", () => {
  const made = replica(7);
  assert.throws(() => made.patch(patch(8, ["missing"], 1)), {
    code: "bad_patch",
  });
  assert.deepEqual(made.current?.state, STATE);
  assert.equal(made.current?.version, 7);
  assert.equal(made.token, undefined);
  assert.equal(made.patch(patch(8, ["title"], "well-formed")), "gap");
  assert.equal(made.resume(resume({ from: 7, version: 8 })), "gap");
  assert.equal(made.snapshot(snap({ version: 6, state: "older" })), "ignored");
  assert.equal(made.token, undefined);
  assert.equal(made.snapshot(snap({ version: 7, state: "mended" })), "changed");
  assert.deepEqual(made.token, { epoch: "e1", version: 7, writer: "w1" });
});

Deno.test("Replica shares what did not change, and freezes all of it", () => {
  const made = replica();
  const before = made.current!.state as typeof STATE;
  made.patch(patch(2, ["title"], { long: ["Tomorrow"] }));
  const after = made.current!.state as unknown as {
    items: typeof STATE.items;
    title: { long: string[] };
  };
  assert.notEqual(after, before);
  assert.equal(after.items, before.items);
  assert.equal(before.title, "Today");
  for (
    const part of [
      before,
      before.items,
      before.items[0],
      after,
      after.title,
      after.title.long,
    ]
  ) {
    assert(Object.isFrozen(part));
  }
  assert.throws(() => after.items.push({ done: true }), TypeError);
});
