/** Writes that are made before the part of the client that writes is loaded. */
import assert from "node:assert/strict";
import { createHostedClient } from "../client/create_client.ts";
import { createClient, HeadwaterError } from "../client/mod.ts";
import type { HostedOptions } from "../client/settings.ts";
import { startWriting } from "../client/writing/mod.ts";
import type { LoadWriting, WritingModule } from "../client/writing_port.ts";
import type { MutateFrame } from "../protocol/frames.ts";
import { createServer } from "../server/mod.ts";
import { settle } from "./_fake_clock.ts";
import { type FakeSocket, openClient, redial, snap } from "./_fake_socket.ts";
import { startProxy, until, within } from "./_harness.ts";
import { MemoryDisk } from "./_memory_storage.ts";

interface Todos {
  items: string[];
  title?: string;
}

/** Loads the part when a test says so. */
class Loader {
  /** Times that it was asked for. */
  tries = 0;
  /** Times that the part was begun. */
  starts = 0;
  #waiting = Promise.withResolvers<WritingModule>();

  readonly load: LoadWriting = () => {
    this.tries++;
    return this.#waiting.promise;
  };

  async succeed(): Promise<void> {
    this.#waiting.resolve({
      startWriting: (owner) => {
        this.starts++;
        return startWriting(owner);
      },
    });
    await settle();
  }

  async fail(): Promise<void> {
    this.#waiting.reject(new TypeError("Failed to fetch"));
    this.#waiting = Promise.withResolvers();
    await settle();
  }
}

/** A client that follows a store, and has nothing to write with yet. */
async function openReader(options: HostedOptions = {}) {
  const loader = new Loader();
  const bench = await openClient({ loadWriting: loader.load, ...options });
  const handle = bench.client.subscribe<Todos>("Todos");
  await settle();
  bench.socket.deliver(snap({ state: { items: [] } }));
  await settle();
  bench.socket.take();
  return { ...bench, handle, loader };
}

const push = (item: string) => (draft: Todos) => void draft.items.push(item);

function takeWrites(socket: FakeSocket): MutateFrame[] {
  return socket.take().filter((frame) => frame.type === "mut");
}

/** Whether a promise is settled by now. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let is = false;
  promise.then(() => is = true, () => is = true);
  await settle();
  return is;
}

Deno.test("update() before the part is loaded waits, is shown and sent in order, and resolves", async () => {
  const { client, socket, handle, loader } = await openReader();
  const news: unknown[] = [];
  client.subscribe<Todos>("Todos", ({ items }) => news.push(items));
  await settle();
  const written = [
    handle.update(push("a")),
    handle.merge({ title: "T" }),
    handle.update(push("b")),
  ];
  await settle();
  assert.deepEqual(handle.getState(), { items: [] });
  assert.deepEqual(takeWrites(socket), []);
  assert.equal(client.unackedCount, 3);
  await loader.succeed();
  assert.deepEqual(handle.getState(), { items: ["a", "b"], title: "T" });
  assert.deepEqual(handle.getServerState(), { items: [] });
  assert.deepEqual(news, [[], ["a", "b"]]);
  assert.equal(client.unackedCount, 3);
  const sent = takeWrites(socket);
  assert.deepEqual(sent.map(({ id }) => id), [1, 2, 3]);
  for (const { id } of sent) {
    socket.deliver({ type: "res", id, value: [["Todos", id + 1]] });
  }
  assert.deepEqual(
    await Promise.all(written),
    [2, 3, 4].map((version) => ({
      version,
    })),
  );
  assert.equal(loader.tries, 1);
  client.destroy();
});

Deno.test("ready() of a handle waits for the part that writes, ready() of the client does not", async () => {
  const { client, handle, loader } = await openReader();
  await client.ready();
  const early = handle.ready();
  const late = client.subscribe("Todos").ready();
  assert.equal(handle.hasData(), true);
  assert.equal(await isSettled(Promise.race([early, late])), false);
  await loader.succeed();
  await Promise.all([early, late, handle.ready()]);
  client.destroy();
});

Deno.test("A part that cannot be loaded is told of, tried again by the next write, and nothing is lost", async () => {
  const { client, socket, handle, loader, errors } = await openReader();
  const ready = handle.ready();
  const first = handle.update(push("a"));
  await loader.fail();
  assert.equal(errors.length, 1);
  const [error] = errors as HeadwaterError[];
  assert.equal(error?.code, "unavailable");
  assert.match(error.message, /Cannot load the part .* that writes/);
  assert.match(String(error.cause), /Failed to fetch/);
  // Who only reads goes on.
  await ready;
  assert.equal(loader.tries, 1);
  const second = handle.update(push("b"));
  assert.equal(loader.tries, 2);
  assert.equal(await isSettled(Promise.race([first, second])), false);
  await loader.succeed();
  assert.deepEqual(handle.getState()?.items, ["a", "b"]);
  assert.equal(takeWrites(socket).length, 2);
  client.destroy();
});

Deno.test("A part that cannot be loaded is tried again by the next connection", async () => {
  const bench = await openReader();
  const { client, handle, loader, errors } = bench;
  handle.update(push("a"));
  await loader.fail();
  assert.equal(loader.tries, 1);
  const socket = await redial(bench);
  assert.equal(loader.tries, 2);
  await loader.succeed();
  socket.welcome();
  await settle();
  socket.deliver(snap({ state: { items: ["x"] }, version: 2 }));
  await settle();
  assert.deepEqual(handle.getState()?.items, ["x", "a"]);
  assert.equal(takeWrites(socket).length, 1);
  assert.equal(errors.length, 1);
  client.destroy();
});

Deno.test("A loader that throws at once is a part that cannot be loaded", async () => {
  let tries = 0;
  const loadWriting = () => {
    if (tries++ === 0) throw new TypeError("no such module");
    return { startWriting };
  };
  const { client, handle, errors } = await openReader({ loadWriting });
  // At once by the constructor, where nobody can listen yet; then by the first hello.
  assert.equal(tries, 2);
  handle.update(push("a"));
  assert.deepEqual(handle.getState()?.items, ["a"]);
  assert.deepEqual(errors, []);
  client.destroy();
});

Deno.test("A recipe that throws late rejects its own write alone, and is told of", async () => {
  const { client, handle, loader, errors } = await openReader();
  const bad = handle.update(() => {
    throw new RangeError("not that");
  });
  handle.update(push("b"));
  await loader.succeed();
  await assert.rejects(bad, /not that/);
  assert.deepEqual(errors.map(String), ["RangeError: not that"]);
  assert.deepEqual(handle.getState()?.items, ["b"]);
  client.destroy();
});

Deno.test("What is wrong with a write at once is told at once, the part loaded or not", async () => {
  const { client, handle, loader } = await openReader();
  const check = () => {
    const elsewhere = client.subscribe<Todos>("Elsewhere");
    assert.throws(() => elsewhere.update(push("a")), { code: "refused" });
    elsewhere.unsubscribe();
    assert.throws(() => elsewhere.update(push("a")), { code: "closed" });
    assert.throws(() => handle.update("no" as never), TypeError);
    assert.throws(() => handle.set([] as never), /must be an object/);
    assert.throws(() => handle.set({ items: [NaN] } as never), {
      code: "bad_value",
    });
    assert.throws(
      () => client.batch(() => client.batch(() => {})),
      /within a batch/,
    );
    const promised = async () => await Promise.reject(new Error("late"));
    assert.throws(() => client.batch(promised as never), /synchronous/);
  };
  check();
  await assert.rejects(client.call("f", new Date()), {
    code: "bad_value",
    message: "Cannot share the arguments",
  });
  await loader.succeed();
  check();
  await assert.rejects(client.call("f", [new Date()]), {
    code: "bad_value",
    message: /the arguments: found an instance of Date at \/0/,
  });
  assert.equal(client.unackedCount, 0);
  client.destroy();
});

Deno.test("batch() before the part is loaded runs at once, and is one request later", async () => {
  const { client, socket, handle, loader } = await openReader();
  let ran = 0;
  const parts: Promise<unknown>[] = [];
  const batch = client.batch(() => {
    ran++;
    parts.push(handle.update(push("a")), handle.update(push("b")));
  });
  assert.equal(ran, 1);
  assert.equal(client.unackedCount, 1);
  await client.batch(() => {});
  await loader.succeed();
  assert.equal(ran, 1);
  const [sent, ...others] = takeWrites(socket);
  assert.equal(sent?.writes.length, 2);
  assert.deepEqual(others, []);
  socket.deliver({ type: "res", id: sent.id, value: [["Todos", 3]] });
  await batch;
  assert.deepEqual(await Promise.all(parts), [{ version: 3 }, { version: 3 }]);
  client.destroy();
});

Deno.test("batch() before the part is loaded takes effect as a whole or not at all", async () => {
  const { client, socket, handle, loader } = await openReader();
  const parts: Promise<unknown>[] = [];
  const throws = () =>
    client.batch(() => {
      parts.push(handle.update(push("never")));
      throw new RangeError("run");
    });
  assert.throws(throws, /run/);
  const late = client.batch(() => {
    parts.push(handle.update(push("a")));
    parts.push(handle.update(() => {
      throw new RangeError("recipe");
    }));
    parts.push(handle.update(push("b")));
  });
  await loader.succeed();
  await assert.rejects(late, /recipe/);
  const reasons = await Promise.allSettled(parts);
  assert.deepEqual(
    reasons.map((result) => "reason" in result && result.reason.message),
    ["run", "recipe", "recipe", "recipe"],
  );
  assert.deepEqual(handle.getState()?.items, []);
  assert.deepEqual(takeWrites(socket), []);
  client.destroy();
});

Deno.test("undo() before the part is loaded follows the write that it takes back", async () => {
  const { client, handle, loader } = await openReader();
  assert.equal(handle.canUndo, false);
  handle.update(push("a"));
  handle.update(push("b"));
  handle.undo();
  await loader.succeed();
  assert.deepEqual(handle.getState()?.items, ["a"]);
  assert.equal(handle.canUndo, true);
  assert.equal(handle.canRedo, true);
  client.destroy();
});

Deno.test("A guess is shown once the part is loaded, unless its call is answered by then", async () => {
  const { client, socket, handle, loader } = await openReader();
  const news: unknown[] = [];
  client.subscribe<Todos>("Todos", ({ items }) => news.push(items));
  const optimistic = (item: string) => ({
    store: "Todos",
    optimistic: (state: Todos) => ({ items: [...state.items, item] }),
  });
  const done = client.call("add", "done", optimistic("done"));
  client.call("add", "open", optimistic("open"));
  await settle();
  const [first] = socket.takeCalls();
  socket.deliver({ type: "res", id: first!.id });
  await done;
  assert.equal(client.unackedCount, 1);
  await loader.succeed();
  assert.deepEqual(handle.getState()?.items, ["open"]);
  assert.deepEqual(news, [[], ["open"]]);
  client.destroy();
});

Deno.test("destroy() rejects what waits for the part, which then does not begin", async () => {
  const { client, handle, loader, errors } = await openReader();
  const written = handle.update(push("a"));
  const batch = client.batch(() => void handle.update(push("b")));
  client.destroy();
  for (const promise of [written, batch]) {
    await assert.rejects(promise, { code: "disconnected", outcome: "notSent" });
  }
  assert.equal(client.unackedCount, 0);
  await loader.succeed();
  assert.equal(loader.starts, 0);
  assert.deepEqual(errors, []);
});

Deno.test("No more than 10,000 writes and calls wait", async () => {
  const { client, handle } = await openReader();
  for (let n = 0; n < 9_999; n++) handle.update(push("x"));
  client.call("f").catch(() => {});
  assert.equal(client.unackedCount, 10_000);
  assert.throws(() => handle.update(push("more")), {
    name: "LimitError",
    actual: 10_001,
  });
  assert.throws(() => client.batch(() => void handle.update(push("more"))), {
    name: "LimitError",
  });
  assert.equal(client.unackedCount, 10_000);
  client.destroy();
});

Deno.test("createClient() loads the part by itself: update() shows at once behind ready()", async () => {
  const server = createServer({ kv: ":memory:" });
  server.createStore("Todos", { items: ["a"] }, { write: true });
  await server.listen({ port: 0, host: "127.0.0.1" });
  const client = createClient(`ws://127.0.0.1:${server.port}`);
  const handle = client.subscribe<Todos>("Todos");
  await handle.ready();
  const written = handle.update(push("b"));
  assert.deepEqual(handle.getState()?.items, ["a", "b"]);
  assert.equal((await written).version, 2);
  client.destroy();
  await server.close();
});

Deno.test("A client whose part is loaded late goes on with what its storage has", async () => {
  const server = createServer({ kv: ":memory:" });
  const todos = server.createStore("Todos", { items: [] as string[] }, {
    write: true,
  });
  await server.listen({ port: 0, host: "127.0.0.1" });
  const proxy = await startProxy(server.port);
  const disk = new MemoryDisk();
  const url = `ws://127.0.0.1:${proxy.port}`;
  const options = {
    reconnectDelayMs: 20,
    loadWriting: () => ({ startWriting }),
  };

  const before = createHostedClient(url, {
    ...options,
    storage: disk.openPage(),
  });
  const old = before.subscribe<Todos>("Todos");
  await old.ready();
  // Sent, and its answer is lost: it has to go on in its session.
  await old.update(push("first"));
  proxy.stall();
  old.update(push("sent"));
  await until(async () => (await todos.get()).items.length === 2);
  before.destroy();
  proxy.cut();
  proxy.resume();
  await until(() => [...disk.records.values()].join().includes('"number":2'));

  let isBroken = true;
  const after = createHostedClient(url, {
    ...options,
    storage: disk.openPage(),
    loadWriting: async () => {
      await settle();
      if (isBroken) throw new TypeError("Failed to fetch");
      return { startWriting };
    },
  });
  const errors: Error[] = [];
  after.on("error", (error) => errors.push(error));
  const handle = after.subscribe<Todos>("Todos");
  // Without what it needs for its session it begins another one, and reads.
  await within(handle.ready(), { describe: () => "a state" });
  assert.deepEqual(handle.getState()?.items, ["first", "sent"]);
  const isTold = (error: Error) =>
    error instanceof HeadwaterError && error.code === "unavailable";
  assert.ok(errors.length > 0 && errors.every(isTold), String(errors));
  errors.length = 0;
  isBroken = false;
  const written = handle.update(push("late"));
  await within(written, { describe: () => "the late write" });
  const items = await until(() => {
    const { items } = handle.getServerState() ?? { items: [] };
    return items.length === 3 && items;
  });
  assert.deepEqual(items, ["first", "sent", "late"]);
  assert.deepEqual(errors, []);
  await until(() => after.unackedCount === 0);
  after.destroy();
  await proxy.close();
  await server.close();
});
