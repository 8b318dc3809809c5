/** Writes of a client that are refused, or whose answers are lost, against a scripted server. */
import assert from "node:assert/strict";
import type { MutateFrame } from "../protocol/frames.ts";
import { settle } from "./_fake_clock.ts";
import {
  type FakeSocket,
  openClient,
  patch,
  redial,
  resume,
  snap,
} from "./_fake_socket.ts";

interface Todos {
  items: string[];
}

const REBASE = { code: "rebase", message: "Others have written" } as const;

function takeWrites(socket: FakeSocket): MutateFrame[] {
  return socket.take().filter((frame) => frame.type === "mut");
}

/** A client with a store at version 1. */
async function openTodos() {
  const bench = await openClient();
  const handle = bench.client.subscribe<Todos>("Todos");
  await settle();
  bench.socket.deliver(snap({ state: { items: [] } }));
  await settle();
  bench.socket.take();
  return { ...bench, handle };
}

/** Connects again, in the same session, with what the store has become. */
async function reconnect(
  bench: Awaited<ReturnType<typeof openTodos>>,
  answer: Parameters<FakeSocket["deliver"]>,
): Promise<FakeSocket> {
  const socket = await redial(bench);
  socket.welcome({ resumed: true });
  await settle();
  socket.deliver(...answer);
  await settle();
  return socket;
}

Deno.test("update() whose effect is here but not its answer is sent again as it was", async () => {
  const bench = await openTodos();
  const written = bench.handle.update((draft) => void draft.items.push("a"));
  await settle();
  const [first] = takeWrites(bench.socket);
  assert.equal(first?.writes.length, 1);
  bench.socket.deliver(
    { type: "own", name: "Todos", calls: [first.id] },
    patch(2, ["items"], ["a"]),
  );
  const socket = await reconnect(bench, [resume({ from: 2, version: 2 })]);
  const [again] = takeWrites(socket);
  assert.deepEqual(again?.writes, first.writes);
  assert.deepEqual([again.id, again.resent], [first.id, true]);
  socket.deliver({ type: "res", id: first.id, value: [["Todos", 2]] });
  assert.deepEqual(await written, { version: 2 });
  assert.deepEqual(bench.handle.getState(), { items: ["a"] });
  bench.client.destroy();
});

Deno.test("update() that a server has lost after it was shown is made again", async () => {
  const bench = await openTodos();
  const written = bench.handle.update((draft) => void draft.items.push("a"));
  await settle();
  const [first] = takeWrites(bench.socket);
  bench.socket.deliver(
    { type: "own", name: "Todos", calls: [first!.id] },
    patch(2, ["items"], ["a"]),
  );
  // Set back to a backup, it begins another epoch.
  const socket = await reconnect(bench, [
    snap({ epoch: "e2", version: 1, state: { items: ["b"] } }),
  ]);
  const [again] = takeWrites(socket);
  socket.deliver({ type: "res", id: again!.id, error: REBASE });
  await settle();
  const [remade] = takeWrites(socket);
  assert.deepEqual([remade?.id, remade?.writes[0]?.epoch], [first!.id, "e2"]);
  assert.deepEqual(bench.handle.getState(), { items: ["b", "a"] });
  socket.deliver(
    { type: "own", name: "Todos", calls: [first!.id] },
    patch(2, ["items"], ["b", "a"]),
    { type: "res", id: first!.id, value: [["Todos", 2]] },
  );
  assert.deepEqual(await written, { version: 2 });
  bench.client.destroy();
});

Deno.test("update() that is refused while its store cannot be read waits until it can", async () => {
  const bench = await openTodos();
  const { handle, socket, client } = bench;
  const written = handle.update((draft) => void draft.items.push("a"));
  await settle();
  const [first] = takeWrites(socket);
  socket.deliver(
    {
      type: "err",
      name: "Todos",
      error: { code: "store_unreadable", message: "The KV failed" },
    },
    { type: "res", id: first!.id, error: REBASE },
  );
  const call = client.call("other");
  await settle();
  const frames = socket.take();
  assert.deepEqual(frames.map(({ type }) => type), ["rpc"]);
  // It is asked again by and by, and has a state to be made on.
  await bench.clock.advance(2_000);
  const sub = socket.take().find(({ type }) => type === "sub");
  assert.ok(sub);
  socket.deliver(snap({ version: 4, state: { items: ["b"] } }));
  await settle();
  const [again] = takeWrites(socket);
  assert.deepEqual([again?.id, again?.writes[0]?.base], [first!.id, 4]);
  client.destroy();
  await assert.rejects(written);
  await assert.rejects(call);
});

Deno.test("update() on top of a batch that waits for another store waits with it", async () => {
  const bench = await openTodos();
  const { handle, socket, client } = bench;
  const others = client.subscribe<Todos>("Others");
  const third = client.subscribe<Todos>("Third");
  await settle();
  const state = { items: [] };
  socket.deliver(
    snap({ store: 2, name: "Others", state }),
    snap({ store: 3, name: "Third", state }),
  );
  await settle();
  socket.take();
  const add = (draft: Todos) => void draft.items.push("a");
  const written = [
    client.batch(() => {
      for (const store of [handle, others]) store.update(add).catch(() => {});
    }),
    handle.update(add),
    third.update(add),
  ];
  await settle();
  const sent = takeWrites(socket);
  assert.equal(sent.length, 3);
  const refuse = ({ id }: MutateFrame) =>
    ({ type: "res", id, error: REBASE }) as const;
  socket.deliver(
    {
      type: "err",
      name: "Others",
      error: { code: "store_unreadable", message: "The KV failed" },
    },
    ...sent.map(refuse),
  );
  await settle();
  socket.deliver(resume({ from: 1, version: 1, patch: [] }));
  await settle();
  // It would be refused for as long as the batch is not there, without a pause.
  const again = takeWrites(socket);
  assert.deepEqual(again.map(({ id }) => id), [sent[2]!.id]);
  await bench.clock.advance(2_000);
  socket.deliver(snap({ store: 2, name: "Others", version: 4, state }));
  await settle();
  const last = takeWrites(socket);
  assert.deepEqual(last.map(({ id }) => id), [sent[0]!.id, sent[1]!.id]);
  assert.deepEqual(last[1]?.writes[0]?.after, [sent[0]!.id]);
  client.destroy();
  for (const one of written) await assert.rejects(one);
});

Deno.test("update() that is refused twice on one state asks for what must have been lost", async () => {
  const { handle, socket, client } = await openTodos();
  const written = handle.update((draft) => void draft.items.push("a"));
  await settle();
  const sent = () => socket.take().map(({ type }) => type);
  assert.deepEqual(sent(), ["mut"]);
  socket.deliver({ type: "res", id: 1, error: REBASE });
  await settle();
  assert.deepEqual(sent(), ["mut"]);
  socket.deliver({ type: "res", id: 1, error: REBASE });
  await settle();
  assert.deepEqual(sent(), ["sub"]);
  socket.deliver(resume({ from: 1, version: 2, patch: [] }));
  await settle();
  assert.deepEqual(sent(), ["mut"]);
  client.destroy();
  await assert.rejects(written);
});
