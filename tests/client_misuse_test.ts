/** What a client refuses to write or to guess, over real sockets: nothing is sent, nothing is shown. */
import assert from "node:assert/strict";
import { createClient } from "../client/mod.ts";
import { createServer } from "../server/mod.ts";
import { within as inTime } from "./_harness.ts";

interface Counter {
  n: number;
  m: number;
}

const within = <T>(promise: Promise<T>) =>
  inTime(promise, { describe: () => "an answer" });

async function start() {
  const server = createServer({ kv: ":memory:" });
  const a = server.createStore<Counter>("A", { n: 0, m: 0 }, { write: true });
  const b = server.createStore<Counter>("B", { n: 0, m: 0 }, { write: true });
  let calls = 0;
  server.handle("count", () => ++calls);
  await server.listen({ port: 0, host: "127.0.0.1" });
  const client = createClient(`ws://127.0.0.1:${server.port}`);
  const [handleA, handleB] = [
    client.subscribe<Counter>("A"),
    client.subscribe<Counter>("B"),
  ];
  await within(Promise.all([handleA.ready(), handleB.ready()]));
  return {
    client,
    a: { store: a, handle: handleA },
    b: { store: b, handle: handleB },
    calls: () => calls,
    [Symbol.asyncDispose]: async () => {
      client.destroy();
      await server.close();
    },
  };
}

const wrongGuesses: [string, object, RegExp][] = [
  [
    "one that throws after another",
    {
      optimistic: {
        A: (state: Counter) => ({ ...state, n: 9 }),
        B: () => {
          throw new Error("wrong");
        },
      },
    },
    /^wrong$/,
  ],
  [
    "one that returns nothing",
    { store: "A", optimistic: () => {} },
    /returned nothing; it returns the next state/,
  ],
  [
    "one that returns a promise",
    { store: "A", optimistic: () => Promise.resolve({}) },
    /Promise/,
  ],
  [
    "one without a store",
    { optimistic: (state: Counter) => state },
    /Cannot call "count": say by `store` which store/,
  ],
  [
    "no function",
    { optimistic: { A: 5 } },
    /Cannot call "count": what is expected of "A" must be a function, not 5/,
  ],
];

for (const [what, options, message] of wrongGuesses) {
  Deno.test(`call() with a guess that cannot be shown is not made: ${what}`, async () => {
    await using app = await start();
    await assert.rejects(within(app.client.call("count", {}, options)), {
      message,
    });
    assert.deepEqual(app.a.handle.getState(), { n: 0, m: 0 });
    assert.equal(await within(app.client.call("count")), 1);
  });
}

Deno.test("update() within a recipe, a mutator or a guess is refused, and nothing is written", async () => {
  await using app = await start();
  const { client, a, b } = app;
  const within_ = /Cannot write within a recipe/;
  assert.throws(
    () => a.handle.update(() => void b.handle.merge({ n: 1 })),
    within_,
  );
  assert.throws(
    () =>
      client.batch(() =>
        void a.handle.update((draft) => {
          draft.n = 1;
          a.handle.update((inner) => void (inner.m = 5));
        })
      ),
    within_,
  );
  const guess = () => {
    a.handle.merge({ n: 1 });
    return { n: 1, m: 0 };
  };
  await assert.rejects(
    client.call("count", {}, { store: "B", optimistic: guess }),
    within_,
  );
  assert.equal(client.unackedCount, 0);
  assert.deepEqual(a.handle.getState(), { n: 0, m: 0 });
  await within(a.handle.update((draft) => void (draft.n = 2)));
  assert.deepEqual(await a.store.get(), { n: 2, m: 0 });
});

Deno.test("update() refuses a recipe that returns a new state in place of a change", async () => {
  await using app = await start();
  const { handle } = app.a;
  assert.throws(
    () => handle.update((state) => ({ ...state, n: 2 })),
    /changed nothing and returned an object; change the draft, or use set\(\)/,
  );
  await within(handle.update((draft) => Object.assign(draft, { n: 2 })));
  assert.equal(handle.getState()?.n, 2);
});

Deno.test("A policy is one that there is, and a batch has one for all", async () => {
  await using app = await start();
  const { client, a: { handle } } = app;
  const policy = "expectVersion";
  const change = (draft: Counter) => void draft.n++;
  const wrong = JSON.parse('{ "policy": "bogus" }');
  assert.throws(
    () => handle.update(change, wrong),
    /its policy is "rebase" or "expectVersion", not "bogus"/,
  );
  const typo = JSON.parse('{ "polcy": "expectVersion" }');
  assert.throws(
    () => handle.update(change, typo),
    /there is no option "polcy"; there are policy/,
  );
  assert.throws(
    () => client.batch(() => void handle.update(change, { policy })),
    /Cannot write with policy "expectVersion" in a batch that has "rebase"/,
  );
  await within(
    client.batch(() => void handle.update(change, { policy }), { policy }),
  );
  assert.equal(handle.getState()?.n, 1);
});

Deno.test("Whatever is written after destroy() rejects at once, and does not show", async () => {
  await using app = await start();
  const { client, a: { handle } } = app;
  await within(handle.update((draft) => void draft.n++));
  client.destroy();
  const writes: Promise<unknown>[] = [
    handle.update((draft) => void draft.n++),
    handle.set({ n: 5, m: 5 }),
    handle.merge({ n: 5 }),
    handle.undo(),
    client.batch(() => void handle.merge({ n: 5 })),
    client.mutate("none"),
  ];
  for (const write of writes) {
    await assert.rejects(within(write), {
      code: "disconnected",
      outcome: "notSent",
    });
  }
  assert.equal(handle.getState()?.n, 1);
  assert.equal(client.unackedCount, 0);
});

Deno.test("merge() refuses what has no properties", async () => {
  await using app = await start();
  const { handle } = app.a;
  for (const wrong of [null, "abc", 5]) {
    assert.throws(
      () => handle.merge(wrong as never), // as JavaScript may
      /Cannot merge into store "A": an object of properties is needed, not/,
    );
  }
});
