import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { z } from "zod";
import { defineApp } from "../mod.ts";
import type { HeadwaterError } from "../protocol/errors.ts";
import type { Json } from "../protocol/value.ts";
import { createServer, type Server } from "../server/mod.ts";
import { connectClient, rawCall, rawSubscribe, tokenOf } from "./_app.ts";
import { RawClient, startProxy, tempKvPath, until } from "./_harness.ts";

/** Stands in every part of the state that is hidden from whom the test looks at. */
const HIDDEN = "xyzzy";

interface Game {
  round: number;
  table: string[];
  deck: string[];
  hands: { [player: string]: string[] };
}

const GAME: Game = {
  round: 0,
  table: ["open"],
  deck: [`${HIDDEN}-1`, `${HIDDEN}-2`],
  hands: { ada: ["a1"], bob: [`${HIDDEN}-b1`] },
};

/** What a player sees of it. */
interface Shown {
  round: number;
  table: string[];
  hand: string[];
}

const app = defineApp({
  stores: { Game: { initial: GAME } },
  mutators: {
    play: {
      store: "Game",
      // On the client it runs on what is shown there.
      run: (game: Game | Shown, card: string, { user }) => {
        const hand = "hand" in game
          ? game.hand
          : game.hands[user as string] ?? [];
        const at = hand.indexOf(card);
        if (at < 0) throw new Error(`You have no card ${card}`);
        hand.splice(at, 1);
        game.table.push(card);
      },
    },
  },
});

/** Everybody is who they say they are, and sees their own hand. */
function createGame(kv = ":memory:") {
  const server = createServer({
    kv,
    app,
    authenticate: (_, { token }) => token ?? null,
  });
  const game = server.createStore("Game", {
    write: true,
    view: ({ round, table, hands }, { audience }): Shown => ({
      round,
      table,
      hand: hands[audience] ?? [],
    }),
  });
  return { server, game };
}

async function startGame(kv?: string) {
  const { server, game } = createGame(kv);
  server.handle("draw", async (_: unknown, { user }) => {
    await game.update((draft) => {
      const hand = draft.hands[user as string] ??= [];
      hand.push("drawn");
    });
  });
  server.handle("shuffle", async (text: string) => {
    await game.update((draft) => void (draft.deck = [`${HIDDEN}-${text}`]));
  });
  await server.listen({ port: 0, host: "127.0.0.1" });
  return {
    server,
    game,
    port: server.port,
    [Symbol.asyncDispose]: () => server.close(),
  };
}

Deno.test("nothing hidden crosses the wire: not in snapshots, patches, resumes, errors, answers nor own frames", async () => {
  await using at = await startGame();
  // Every byte that the server sends, as it is on the wire; the server does not mask.
  await using proxy = await startProxy(at.port);
  const wire: Uint8Array[] = [];
  proxy.onDown = (bytes) => void wire.push(bytes.slice());
  using client = connectClient(proxy.port, { token: "ada", app });
  const errors: Error[] = [];
  client.on("error", (error) => void errors.push(error));
  const handle = client.subscribe<Shown>("Game");
  await handle.ready();
  assert.deepEqual(
    handle.getState(),
    { round: 0, table: ["open"], hand: ["a1"] } as unknown,
  );
  await client.call("shuffle", "secret-order");
  await at.game.update((draft) =>
    void draft.hands["bob"]!.push(`${HIDDEN}-b2`)
  );
  await at.game.update((draft) => {
    draft.round++;
    draft.deck.reverse();
  });
  await client.call("draw");
  await until(() => handle.getState()?.hand.length === 2);
  assert.deepEqual(handle.getState(), {
    round: 1,
    table: ["open"],
    hand: ["a1", "drawn"],
  });
  // Missed, and resumed.
  proxy.cut();
  await until(() => client.status !== "connected");
  await at.game.update((draft) => void draft.deck.push(`${HIDDEN}-late`));
  await at.game.update((draft) => void draft.table.push("missed"));
  await until(() => handle.getState()?.table.includes("missed"));
  const { version = 0 } = handle;
  // A mutator that is refused, one that is taken, and a patch.
  assert.throws(() => client.mutate("play", "none"), /no card none/);
  await client.mutate("play", "drawn");
  assert.equal(handle.version, version + 1);
  await assert.rejects(
    handle.update((draft) => void (draft.round = 9)),
    (error: HeadwaterError) =>
      error.code === "refused" && /mutator/.test(error.message),
  );
  // By a token of another audience, a forged one, and that of the log.
  for (const token of ["bob", "ada"]) {
    await using raw = await RawClient.connect(`ws://127.0.0.1:${proxy.port}`);
    await raw.hello({ token: "carol", own: true });
    await using other = await RawClient.connect(at.port);
    await other.hello({ token });
    const snap = await rawSubscribe(other, "Game");
    const answer = await rawSubscribe(raw, "Game", tokenOf(snap));
    assert.equal(answer.type, "snap");
    raw.send({ type: "unsub", name: "Game" });
    const forged = { ...tokenOf(snap), version: 1 };
    assert.equal((await rawSubscribe(raw, "Game", forged)).type, "snap");
    await rawCall(raw, 1, { name: "shuffle", args: "again" });
    const write = { name: "Game", epoch: "", base: 0, after: [] };
    const head = { type: "mut", oldest: 2, elapsedMs: 0 } as const;
    for (
      const [id, action, exact] of [
        [2, { mutator: "play", seed: "s", args: "none" }, false],
        [3, { mutator: "play", seed: "s", args: "none" }, true],
        [4, { patch: [{ op: "remove", path: ["deck", 0] }] }, false],
      ] as const
    ) {
      const writes = [{ ...write, ...action }];
      raw.send({ ...head, id, writes, ...(exact && { exact }) });
      assert.ok((await raw.next("res")).error);
    }
  }
  // Its author has all of it.
  const { entries } = await at.game.history();
  assert.match(JSON.stringify(entries), new RegExp(HIDDEN));
  const sent = Buffer.concat(wire).toString("latin1");
  assert.ok(sent.length > 1_000, `${sent.length} bytes`);
  assert.ok(sent.includes("missed") && sent.includes("drawn"));
  assert.ok(!sent.includes(HIDDEN), "something hidden was sent");
  assert.ok(!/deck|hands/.test(sent), "not even the names of what is hidden");
});

Deno.test("nothing hidden crosses the wire where schemas, migrations, interceptors, mutators, functions and views fail", async () => {
  interface Vault {
    open: number;
    deck: string[];
  }
  const schema = z.object({
    open: z.number(),
    // As libraries do that quote what they have got.
    deck: z.array(z.string({ error: ({ input }) => `No text: ${input}` }))
      .max(2, { error: ({ input }) => `Too many: ${input}` }),
  });
  const mutator = (store: "Vault" | "Eager", run: (vault: Vault) => void) => ({
    store,
    run: (shown: { open: number }) => {
      // On the client it does what the server refuses.
      if ("deck" in shown) run(shown as Vault);
      else shown.open++;
    },
  });
  const initial: Vault = { open: 0, deck: [`${HIDDEN}-1`, `${HIDDEN}-2`] };
  const contract = defineApp({
    stores: { Vault: { initial, schema }, Eager: { initial } },
    mutators: {
      throws: mutator("Vault", ({ deck }) => {
        throw new Error(`The deck is ${deck}`);
      }),
      grows: mutator("Vault", ({ deck }) => void deck.push(`${HIDDEN}-3`)),
      breaks: mutator("Vault", ({ deck }) => void deck.push(NaN as never)),
      opens: mutator("Eager", (eager) => void eager.open++),
    },
  });
  await using file = await tempKvPath();
  const wire: Uint8Array[] = [];
  const errors: Error[] = [];
  const reported: string[] = [];
  const serve = async (
    server: Server,
    run: (client: ReturnType<typeof connect>) => Promise<void>,
  ) => {
    server.on("error", ({ message }) => void reported.push(message));
    await server.listen({ port: 0, host: "127.0.0.1" });
    await using proxy = await startProxy(server.port);
    proxy.onDown = (bytes) => void wire.push(bytes.slice());
    using client = connect(proxy.port);
    client.on("error", (error) => void errors.push(error));
    await run(client);
  };
  const connect = (port: number) => connectClient(port, { app: contract });
  const fails = async (work: Promise<unknown>) => {
    await assert.rejects(work, (error: HeadwaterError) => {
      errors.push(error);
      return error.id !== undefined;
    });
  };
  {
    await using server = createServer({ kv: file.path, app: contract });
    const view = ({ open }: Vault) => ({ open });
    const vault = server.createStore("Vault", { write: true, view });
    const eager = server.createStore("Eager", {
      write: true,
      view,
      intercept: (_, { state }) => {
        throw new Error(`Nobody may touch ${state.deck}`);
      },
    });
    server.handle("grow", async () => {
      await vault.update(({ deck }) => void deck.push(`${HIDDEN}-3`));
    });
    server.handle("open", async () => {
      await eager.update((draft) => void draft.open++);
    });
    await eager.init();
    await serve(server, async (client) => {
      await client.subscribe("Vault").ready();
      await client.subscribe("Eager").ready();
      for (const name of ["throws", "grows", "breaks"] as const) {
        await fails(client.mutate(name));
      }
      await fails(client.mutate("opens"));
      for (const name of ["grow", "open"]) await fails(client.call(name));
    });
    await until(() => reported.length === 6);
  }
  const later = defineApp({
    stores: {
      Vault: {
        initial: { open: 0, deck: 0 },
        schema: z.object({
          open: z.number(),
          deck: z.number({ error: ({ input }) => `No number: ${input}` }),
        }),
        version: 2,
        migrate: (state) => state as { open: number; deck: number },
      },
      Eager: { initial },
    },
  });
  {
    await using server = createServer({ kv: file.path, app: later });
    server.createStore("Vault", { view: ({ open }) => ({ open }) });
    server.createStore("Eager", {
      view: ({ deck }) => {
        throw new Error(`Cannot show ${deck}`);
      },
    });
    await serve(server, async (client) => {
      await fails(client.subscribe("Vault").ready());
      await assert.rejects(client.subscribe("Eager").ready(), /view failed/);
    });
    await until(() => reported.length >= 8);
  }
  const sent = Buffer.concat(wire).toString("latin1");
  assert.ok(sent.includes("its stored state does not fit the contract"));
  assert.ok(sent.includes("its state would not fit the contract"));
  assert.ok(!sent.includes(HIDDEN), "something hidden was sent");
  assert.ok(!sent.includes("deck"), "not even the names of what is hidden");
  assert.ok(!JSON.stringify(errors).includes(HIDDEN));
  // Whoever runs the server is told all of it.
  const whole = reported.filter((text) => /xyzzy|\/deck/.test(text));
  assert.deepEqual(reported, whole);
});

Deno.test("who reconnects to the same server gets what the view has missed; after another load, a snapshot", async () => {
  await using file = await tempKvPath();
  await using first = await startGame(file.path);
  await using second = await startGame(file.path);
  await using stayed = await RawClient.connect(first.port);
  await stayed.hello({ token: "ada" });
  const snap = await rawSubscribe(stayed, "Game");
  const ask = async (port: number, user: string) => {
    await using client = await RawClient.connect(port);
    await client.hello({ token: user });
    return await rawSubscribe(client, "Game", tokenOf(snap));
  };
  await first.game.update((draft) => void draft.table.push("new"));
  const resumed = await ask(first.port, "ada");
  assert.ok(resumed.type === "resume");
  assert.deepEqual(resumed.patch, [{
    op: "add",
    path: ["table", 1],
    value: "new",
  }]);
  assert.equal((await ask(first.port, "bob")).type, "snap");
  const elsewhere = await ask(second.port, "ada");
  assert.ok(elsewhere.type === "snap");
  assert.deepEqual([elsewhere.version, elsewhere.epoch], [
    resumed.version,
    snap.epoch,
  ]);
});

Deno.test("a client whose view becomes another one is sent that, and nothing between", async () => {
  const roles = new Map<string, string>([["t1", "admin"], ["t2", "guest"]]);
  const server = createServer({
    kv: ":memory:",
    authenticate: (_, { token = "" }) => ({
      id: "ada",
      role: roles.get(token) ?? "none",
    }),
  });
  const board = server.createStore("Board", { n: 0, secret: HIDDEN }, {
    view: ({ n, secret }, { user }) =>
      (user as { role: string }).role === "admin" ? { n, secret } : { n },
  });
  await server.listen({ port: 0, host: "127.0.0.1" });
  await using _ = server;
  await using client = await RawClient.connect(server.port);
  const { session } = await client.hello({ token: "t1" });
  const before = await rawSubscribe(client, "Board");
  assert.ok(before.type === "snap");
  assert.deepEqual(before.state, { n: 0, secret: HIDDEN });
  const count = client.frames.length;
  // Writes go on while the token changes.
  const writes = (async () => {
    for (let n = 1; n <= 50; n++) {
      await board.update((draft) => {
        draft.n = n;
        draft.secret = `${HIDDEN}-${n}`;
      });
    }
  })();
  client.send({ type: "hello", protocol: 1, session, token: "t2" });
  await writes;
  let state: Json = null;
  await until(() => {
    const last = client.frames.at(-1);
    return last?.type === "patch" && JSON.stringify(last.patch).includes("50");
  });
  const after = client.frames.slice(count);
  const welcome = after.findIndex(({ type }) => type === "welcome");
  const later = after.slice(welcome + 1);
  assert.ok(!JSON.stringify(later).includes(HIDDEN));
  const snap = later[0];
  assert.ok(snap?.type === "snap" && snap.epoch === before.epoch);
  assert.notEqual(snap.writer, before.writer);
  state = snap.state;
  assert.deepEqual(Object.keys(state as object), ["n"]);
});

Deno.test("views of two stores that a transaction changes come in one message", async () => {
  const server = createServer({ kv: ":memory:" });
  const options = { view: (state: { n: number }) => ({ shown: state.n }) };
  const [a, b] = ["A", "B"].map((name) =>
    server.createStore(name, { n: 0 }, options)
  );
  await server.listen({ port: 0, host: "127.0.0.1" });
  await using _ = server;
  await using client = await RawClient.connect(server.port);
  await client.hello();
  for (const name of ["A", "B"]) await rawSubscribe(client, name);
  const before = client.messages.length;
  await server.transaction((tx) => {
    for (const store of [a!, b!]) tx(store).update((draft) => void draft.n++);
  });
  await until(() =>
    client.frames.filter(({ type }) => type === "patch").length === 2
  );
  assert.equal(client.messages.length, before + 1);
});

Deno.test("createStore() refuses an audience without a view", async () => {
  await using server = createServer({ kv: ":memory:" });
  assert.throws(
    () => server.createStore("X", {}, { audience: () => "all" }),
    { name: "TypeError", message: /no view/ },
  );
});

Deno.test("a write costs one view for each audience, and no more, over 300 sockets", async () => {
  const roles = ["admin", "guest", "member"];
  const made: string[] = [];
  const server = createServer({
    kv: ":memory:",
    authenticate: (_, { token }) => token ?? null,
  });
  const board = server.createStore("Board", { n: 0, secret: 0 }, {
    audience: ({ user }) => String(user),
    view: ({ n, secret }, { audience }) => {
      made.push(audience);
      return audience === "admin" ? { n, secret } : { n };
    },
  });
  await server.listen({ port: 0, host: "127.0.0.1" });
  await using _ = server;
  await using clients = new AsyncDisposableStack();
  const connect = async (n: number) => {
    const client = clients.use(await RawClient.connect(server.port));
    await client.hello({ token: roles[n % roles.length]! });
    await rawSubscribe(client, "Board");
    return client;
  };
  const all: RawClient[] = [];
  // Not all at once: a system takes so many connections that wait, and no more.
  for (let n = 0; n < 300; n += 50) {
    const some = Array.from({ length: 50 }, (_, index) => connect(n + index));
    all.push(...await Promise.all(some));
  }
  assert.equal(board.subscriberCount(), 300);
  made.length = 0;
  for (let n = 1; n <= 3; n++) {
    const { version } = await board.update((draft) => {
      draft.n = draft.secret = n;
    });
    const isShown = ({ frames }: RawClient) => {
      const last = frames.at(-1);
      return last?.type === "patch" && last.version === version;
    };
    await until(() => all.every(isShown));
    assert.deepEqual(made.splice(0).toSorted(), roles);
  }
});
