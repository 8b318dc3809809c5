import assert from "node:assert/strict";
import { HeadwaterError } from "../protocol/errors.ts";
import { CLOSE, type UpFrame } from "../protocol/frames.ts";
import type { Json } from "../protocol/value.ts";
import {
  type Authenticate,
  type ConnectionInfo,
  type ConnectionRequest,
  createServer,
  type Credentials,
  type Server,
  type ServerOptions,
} from "../server/mod.ts";
import { connectClient, rawCall, rawSubscribe, sendCall } from "./_app.ts";
import { RawClient, until, within } from "./_harness.ts";

/** A user of these tests. */
interface Known {
  readonly id?: string;
  readonly role: string;
}

/** Users by their tokens; a test may change it while a server runs. */
function users(): Map<string, Known> {
  return new Map<string, Known>([
    ["ada-1", { id: "ada", role: "admin" }],
    ["ada-2", { id: "ada", role: "guest" }],
    ["bob-1", { id: "bob", role: "guest" }],
    ["nameless", { role: "guest" }],
  ]);
}

const byToken =
  (known: ReadonlyMap<string, Known>): Authenticate => (_, { token = "" }) =>
    known.get(token) ?? null;

interface User {
  readonly id: string;
  readonly role: string;
}

const isAdmin = (user: Json) => (user as User | null)?.role === "admin";

interface Started extends AsyncDisposable {
  readonly server: Server;
  readonly port: number;
}

/** A server with a store for all, one for admins, rooms for members, and two functions. */
async function start(options: ServerOptions = {}): Promise<Started> {
  const server = createServer({ kv: ":memory:", ...options });
  server.createStore("Open", { n: 0 });
  const admins = server.createStore("Admins", { secret: "xyzzy" }, {
    read: ({ user }) => isAdmin(user),
    write: true,
  });
  server.createStore("Room:*", { text: "" }, {
    read: ({ user, key }) => (user as User | null)?.id === key,
  });
  server.handle(
    "whoami",
    (_: unknown, { user, clientId }) => ({ user, clientId }),
  );
  server.handle("admins.set", async (secret: string) => {
    await admins.update((draft) => void (draft.secret = secret));
  });
  await server.listen({ port: 0, host: "127.0.0.1" });
  return {
    server,
    port: server.port,
    [Symbol.asyncDispose]: () => server.close(),
  };
}

/** How the server ends a connection whose hello it does not like. */
async function refusalOf(
  port: number,
  hello: Partial<Extract<UpFrame, { type: "hello" }>> = {},
): Promise<{ code: number; reason: string }> {
  await using client = await RawClient.connect(port);
  client.send({ type: "hello", protocol: 1, ...hello });
  return await within(client.closed, { describe: () => "the end" });
}

Deno.test("authenticate says who is behind a client: the client is told, and functions get it", async () => {
  await using at = await start({ authenticate: byToken(users()) });
  using client = connectClient(at.port, { token: "ada-1" });
  assert.equal(client.user, null);
  const { user, clientId } = await client.call<
    { user: User; clientId: string }
  >("whoami");
  assert.deepEqual(user, { id: "ada", role: "admin" });
  assert.equal(clientId, client.clientId);
  assert.deepEqual(client.user, user);
  await using raw = await RawClient.connect(at.port);
  assert.deepEqual((await raw.hello({ token: "nameless" })).user, {
    role: "guest",
  });
});

Deno.test("authenticate gets the request without its cookies, and what the hello says", async () => {
  const asked: [ConnectionRequest, Credentials][] = [];
  await using at = await start({
    authenticate: (...given) => {
      asked.push(given);
      return "user";
    },
  });
  const url = `ws://127.0.0.1:${at.port}/some/path?key=1`;
  await using first = await RawClient.connect(url, {
    headers: { "x-key": "k1", cookie: "session=1" },
  });
  const { session, clientId } = await first.hello({ token: "t1" });
  await using second = await RawClient.connect(at.port);
  await second.hello({ identity: session });
  const [[request, hello], [, again]] = asked as [
    typeof asked[0],
    typeof asked[0],
  ];
  assert.equal(new URL(request.url).search, "?key=1");
  assert.deepEqual(
    [
      request.headers.get("x-key"),
      request.headers.get("cookie"),
      request.address,
    ],
    ["k1", null, "127.0.0.1"],
  );
  assert.deepEqual(hello, { token: "t1", clientId: undefined });
  assert.deepEqual(again, { token: undefined, clientId });
});

Deno.test("authenticate refuses with 4003: by null, by its error's message, and by anything else with an id alone", async () => {
  const errors: string[] = [];
  // Some of it no types would let through.
  const given: Record<string, () => ReturnType<Authenticate>> = {
    none: () => null,
    nothing: () => undefined,
    banned: () => {
      throw new HeadwaterError("forbidden", "You are banned until Monday");
    },
    broken: () => Promise.reject(new Error("password of db: hunter2")),
    odd: () => ({ at: new Date() }),
    large: () => "x".repeat(17 * 1024),
    busy: () => {
      throw new HeadwaterError(
        "unavailable",
        "Nobody can be asked at the moment",
      );
    },
  };
  await using at = await start({
    authenticate: (_, { token = "" }) => given[token]!(),
  });
  at.server.on("error", (error) => void errors.push(error.message));
  const codes = async (token: string) => await refusalOf(at.port, { token });
  for (const token of ["none", "nothing"]) {
    assert.deepEqual(await codes(token), {
      code: CLOSE.refused,
      reason: "Authentication found no user",
    });
  }
  assert.deepEqual(await codes("banned"), {
    code: CLOSE.refused,
    reason: "You are banned until Monday",
  });
  for (const token of ["broken", "odd", "large"]) {
    const { code, reason } = await codes(token);
    assert.equal(code, CLOSE.refused);
    assert.match(reason, /^Authentication failed, id [\w-]+$/, token);
  }
  assert.equal((await codes("busy")).code, CLOSE.unavailable);
  await until(() => errors.length === 3);
  assert.match(errors.join(), /hunter2/);
  assert.equal((await at.server.health()).connections, 0);
});

for (const falsy of [undefined, null, false, 0, -0, "", NaN] as const) {
  Deno.test(`authenticate refuses by ${Object.is(falsy, -0) ? "-0" : JSON.stringify(falsy)} (${typeof falsy}), at once and by a promise`, async () => {
    for (const given of [falsy, Promise.resolve(falsy)]) {
      await using at = await start({ authenticate: () => given });
      assert.deepEqual(await refusalOf(at.port), {
        code: CLOSE.refused,
        reason: "Authentication found no user",
      });
    }
  });
}

Deno.test("authenticate refuses by true, and its author is told to return the user", async () => {
  for (const given of [true, Promise.resolve(true)]) {
    // As somebody without types would.
    const authenticate = (() => given) as unknown as Authenticate;
    await using at = await start({ authenticate });
    const errors: string[] = [];
    at.server.on("error", ({ message }) => void errors.push(message));
    const { code, reason } = await refusalOf(at.port);
    assert.equal(code, CLOSE.refused);
    assert.match(reason, /^Authentication failed, id \S+$/);
    await until(() => errors.length > 0);
    assert.deepEqual(errors, [
      "Cannot use what authenticate has given: true says of nobody who it is; return the user, such as { id }, or null to refuse",
    ]);
  }
});

Deno.test("authenticate has the time that a hello has", async () => {
  const { promise, resolve } = Promise.withResolvers<null>();
  await using at = await start({
    authenticate: () => promise,
    limits: { helloMs: 100 },
  });
  assert.equal(
    (await refusalOf(at.port, { token: "x" })).code,
    CLOSE.helloTimeout,
  );
  resolve(null);
});

Deno.test("a client that is refused stops, and may be connected again with another token", async () => {
  await using at = await start({ authenticate: byToken(users()) });
  using client = connectClient(at.port, { token: "unknown" });
  await assert.rejects(client.ready(), {
    code: "closed",
    message:
      "Cannot connect: the server refuses this user (4003: Authentication found no user)",
    data: { code: 4003, reason: "Authentication found no user" },
  });
  assert.equal(client.status, "closed");
  await client.setToken("bob-1");
  client.connect(`ws://127.0.0.1:${at.port}`);
  await client.ready();
  assert.deepEqual(client.user, { id: "bob", role: "guest" });
});

Deno.test("a session belongs to its user: nobody else goes on with it, or gets its client id", async () => {
  await using at = await start({ authenticate: byToken(users()) });
  await using owner = await RawClient.connect(at.port);
  const { session, clientId } = await owner.hello({ token: "ada-1" });
  const greet = async (
    hello: { session?: string; identity?: string; token: string },
  ) => {
    await using client = await RawClient.connect(at.port);
    const welcome = await client.hello(hello);
    return [welcome.resumed, welcome.clientId === clientId];
  };
  assert.deepEqual(await greet({ session, token: "ada-2" }), [true, true]);
  assert.deepEqual(await greet({ identity: session, token: "ada-2" }), [
    false,
    true,
  ]);
  for (const token of ["bob-1", "nameless"]) {
    assert.deepEqual(await greet({ session, token }), [false, false], token);
    assert.deepEqual(
      await greet({ identity: session, token }),
      [false, false],
      token,
    );
  }
  // Without an id all that is known of the user counts, in whatever order.
  await using nameless = await RawClient.connect(at.port);
  const anonymous = await nameless.hello({ token: "nameless" });
  await using again = await RawClient.connect(at.port);
  const { resumed } = await again.hello({
    session: anonymous.session,
    token: "nameless",
  });
  assert.equal(resumed, true);
});

Deno.test("a session of nobody is not that of a user, and the other way round", async () => {
  const kv = await Deno.openKv(":memory:");
  try {
    await using open = await start({ kv });
    await using closed = await start({ kv, authenticate: byToken(users()) });
    await using nobody = await RawClient.connect(open.port);
    const { session } = await nobody.hello();
    await using ada = await RawClient.connect(closed.port);
    const welcome = await ada.hello({ session, token: "ada-1" });
    assert.equal(welcome.resumed, false);
    await using other = await RawClient.connect(open.port);
    assert.equal(
      (await other.hello({ session: welcome.session })).resumed,
      false,
    );
  } finally {
    kv.close();
  }
});

Deno.test("who may not read a store gets forbidden: nothing of it, and it is not created", async () => {
  await using at = await start({ authenticate: byToken(users()) });
  await using bob = await RawClient.connect(at.port);
  await bob.hello({ token: "bob-1", own: true });
  for (const name of ["Admins", "Room:ada", "Room:nobody"]) {
    bob.send({ type: "sub", name });
    const { error, name: about } = await bob.next("err");
    assert.deepEqual([error.code, about], ["forbidden", name]);
    assert.equal(await at.server.hasStore(name), false);
  }
  assert.equal((await rawSubscribe(bob, "Room:bob")).name, "Room:bob");
  assert.deepEqual(await at.server.listStores(), ["Room:bob"]);

  // What happens in it, and what its subscribers are told, goes past who may not read it.
  await using ada = await RawClient.connect(at.port);
  await ada.hello({ token: "ada-1" });
  const snap = await rawSubscribe(ada, "Admins");
  assert.deepEqual(snap.type === "snap" && snap.state, { secret: "xyzzy" });
  const before = bob.frames.length;
  // With a token that proves what others have seen it is no different.
  bob.send({ type: "sub", name: "Admins", token: { ...snap } });
  assert.equal((await bob.next("err")).error.code, "forbidden");
  await rawCall(bob, 1, { name: "admins.set", args: "plugh" });
  at.server.emit("moved", "plugh", { store: "Admins" });
  await ada.next("evt");
  bob.send({ type: "ping" });
  await bob.next("pong");
  const seen = JSON.stringify(bob.frames.slice(before));
  assert.ok(!/plugh|xyzzy|evt|"own"|patch/.test(seen), seen);
});

Deno.test("a rule that throws refuses, and only its author learns why; one that gives a promise refuses, too", async () => {
  const server = createServer({ kv: ":memory:" });
  const errors: string[] = [];
  server.on("error", (error) => void errors.push(error.message));
  const rules: Record<string, () => boolean> = {
    Throws: () => {
      throw new Error("table users_v2 is gone");
    },
    // Not a boolean, and never true.
    Promises: () => Promise.resolve(true) as unknown as boolean,
    Says: () => {
      throw new HeadwaterError("refused", "Members only");
    },
  };
  for (const [name, read] of Object.entries(rules)) {
    server.createStore(name, {}, { read });
  }
  server.createStore("Never", {}, { read: false });
  await server.listen({ port: 0, host: "127.0.0.1" });
  await using _ = server;
  await using client = await RawClient.connect(server.port);
  await client.hello();
  const told: string[] = [];
  for (const name of ["Throws", "Promises", "Says", "Never"]) {
    client.send({ type: "sub", name });
    const { error } = await client.next("err");
    assert.equal(error.code, "forbidden");
    told.push(error.message);
  }
  const plain = (name: string) =>
    `Cannot subscribe to store "${name}": this client may not`;
  assert.deepEqual(told, [
    plain("Throws"),
    plain("Promises"),
    "Members only",
    plain("Never"),
  ]);
  await until(() => errors.includes("table users_v2 is gone"));
});

Deno.test("a rule lets in by true alone; whoever wrote one that says something else is told once", async () => {
  await using server = createServer({ kv: ":memory:" });
  const errors: string[] = [];
  server.on("error", ({ message }) => void errors.push(message));
  const given: Record<string, unknown> = {
    Promise: Promise.resolve(true),
    Rejects: undefined,
    Text: "yes",
    Number: 1,
    User: { id: "ada" },
    Zero: 0,
    Empty: "",
    Null: null,
    Nothing: undefined,
  };
  for (const name of Object.keys(given)) {
    // As somebody without types would.
    const rule = (() =>
      name === "Rejects"
        ? Promise.reject(new Error("nobody sees it"))
        : given[name]) as unknown as () => boolean;
    server.createStore(`Read:${name}:*`, { n: 0 }, { read: rule });
    server.createStore(`Write:${name}:*`, { n: 0 }, { write: rule });
  }
  await server.listen({ port: 0, host: "127.0.0.1" });
  using client = connectClient(server.port);
  for (const name of Object.keys(given)) {
    for (const key of ["a", "b"]) {
      const read = client.subscribe(`Read:${name}:${key}`);
      await assert.rejects(read.ready(), {
        code: "forbidden",
        message:
          `Cannot subscribe to store "Read:${name}:${key}": this client may not`,
      });
      const write = client.subscribe<{ n: number }>(`Write:${name}:${key}`);
      await write.ready();
      await assert.rejects(write.update((draft) => void draft.n++), {
        code: "forbidden",
        message:
          `Cannot write to store "Write:${name}:${key}": this client may not`,
      });
    }
  }
  const promised = "has returned a promise: a rule must be synchronous";
  const truthy = (shown: string) =>
    `has returned ${shown}: only true lets a client in`;
  const told = [
    ["Promise", promised],
    ["Rejects", promised],
    ["Text", truthy('"yes"')],
    ["Number", truthy("1")],
    ["User", truthy("an object")],
  ].flatMap(([name, what]) => [
    `Refused, since the "read" rule of store "Read:${name}:*" ${what}`,
    `Refused, since the "write" rule of store "Write:${name}:*" ${what}`,
  ]);
  await until(() => errors.length >= told.length);
  assert.deepEqual(errors, told);
});

Deno.test("a write rule that throws refuses, and only its author learns why", async () => {
  await using server = createServer({ kv: ":memory:" });
  const errors: string[] = [];
  server.on("error", ({ message }) => void errors.push(message));
  server.createStore("Throws", { n: 0 }, {
    write: () => {
      throw new Error("table users_v2 is gone");
    },
  });
  server.createStore("Says", { n: 0 }, {
    write: () => {
      throw new HeadwaterError("refused", "Members only");
    },
  });
  await server.listen({ port: 0, host: "127.0.0.1" });
  using client = connectClient(server.port);
  const told = new Map([
    ["Throws", 'Cannot write to store "Throws": this client may not'],
    ["Says", "Members only"],
  ]);
  for (const [name, message] of told) {
    const store = client.subscribe<{ n: number }>(name);
    await store.ready();
    await assert.rejects(store.update((draft) => void draft.n++), {
      code: "forbidden",
      outcome: "notApplied",
      message,
    });
  }
  await until(() => errors.includes("table users_v2 is gone"));
});

Deno.test("setToken() goes on with the session and applies the rules anew: what is lost is unsubscribed with a reason", async () => {
  const known = users();
  const seen: string[] = [];
  await using at = await start({ authenticate: byToken(known) });
  at.server.on("unsubscribe", (name) => void seen.push(name));
  using client = connectClient(at.port, { token: "ada-1" });
  const errors: Error[] = [];
  client.on("error", (error) => void errors.push(error));
  const [open, admins] = [client.subscribe("Open"), client.subscribe("Admins")];
  await Promise.all([open.ready(), admins.ready()]);
  const { clientId } = client;
  let disconnected = 0;
  client.on("disconnected", () => void disconnected++);

  await client.setToken("ada-2");
  assert.deepEqual(client.user, { id: "ada", role: "guest" });
  await until(() => errors.length > 0);
  assert.equal((errors[0] as HeadwaterError).code, "forbidden");
  assert.deepEqual([open.isStale, admins.isStale], [false, true]);
  await until(() => seen.length > 0);
  assert.deepEqual(seen, ["Admins"]);
  assert.deepEqual([client.clientId, disconnected], [clientId, 0]);
  assert.deepEqual(await client.call("whoami"), {
    user: client.user,
    clientId,
  });
  // It has it for the next connection as well.
  await client.call("admins.set", "not for guests");
  assert.deepEqual(admins.getState(), { secret: "xyzzy" });

  await client.setToken("ada-1");
  const again = client.subscribe("Admins");
  await again.ready();
  assert.deepEqual(again.getState(), { secret: "not for guests" });
  assert.equal(disconnected, 0);
});

Deno.test("on() tells who the user is, of every event of a connection, and who it is by now", async () => {
  await using at = await start({ authenticate: byToken(users()) });
  const told: [string, ConnectionInfo][] = [];
  at.server.on("connection", (_, info) => void told.push(["came", info]));
  at.server.on("disconnect", (_, info) => void told.push(["went", info]));
  at.server.on("subscribe", (name, _, info) => void told.push([name, info]));
  at.server.on("unsubscribe", (name, _, info) => void told.push([name, info]));
  at.server.handle("connection", (_: unknown, { connection }) => connection);
  const client = connectClient(at.port, { token: "ada-1" });
  await client.subscribe("Admins").ready();
  await client.setToken("ada-2");
  const guest = { address: "127.0.0.1", user: { id: "ada", role: "guest" } };
  assert.deepEqual(await client.call("connection"), guest);
  client.destroy();
  await until(() => told.length === 4);
  const admin = { ...guest, user: { id: "ada", role: "admin" } };
  assert.deepEqual(told, [
    ["came", admin],
    ["Admins", admin],
    ["Admins", guest],
    ["went", guest],
  ]);
});

Deno.test("calls that are under way when the token changes are answered once, and run as who made them", async () => {
  const gate = Promise.withResolvers<void>();
  let runs = 0;
  const server = createServer({
    kv: ":memory:",
    authenticate: byToken(users()),
  });
  server.handle("slow", async (_: unknown, { user }) => {
    runs++;
    await gate.promise;
    return user;
  });
  server.handle("whoami", (_: unknown, { user }) => user);
  await server.listen({ port: 0, host: "127.0.0.1" });
  await using _ = server;
  using client = connectClient(server.port, { token: "ada-1" });
  await client.ready();
  const slow = client.call("slow");
  await until(() => runs === 1);
  const refreshed = client.setToken("ada-2");
  // Made before the server has answered: it runs as the new user.
  const quick = client.call("whoami");
  await refreshed;
  assert.deepEqual(await quick, { id: "ada", role: "guest" });
  gate.resolve();
  assert.deepEqual(await slow, { id: "ada", role: "admin" });
  assert.equal(runs, 1);
});

Deno.test("a connection cannot become another user's, and one that is refused later ends", async () => {
  await using at = await start({ authenticate: byToken(users()) });
  for (const token of ["bob-1", "nameless", "gone"]) {
    using client = connectClient(at.port, { token: "ada-1" });
    await client.ready();
    await assert.rejects(client.setToken(token), {
      code: "closed",
      message: /4003/,
    });
    assert.equal(client.status, "closed");
  }
  await using raw = await RawClient.connect(at.port);
  const { session } = await raw.hello({ token: "ada-1" });
  // A hello without credentials is a fresh session of the same user.
  const fresh = await raw.hello({ identity: session });
  assert.deepEqual([fresh.user, fresh.resumed], [
    { id: "ada", role: "admin" },
    false,
  ]);
  raw.send({
    type: "hello",
    protocol: 1,
    session: fresh.session,
    token: "bob-1",
  });
  const { code, reason } = await raw.closed;
  assert.equal(code, CLOSE.refused);
  assert.match(reason, /another user/);
});

Deno.test("a token may be a function, which is asked at each connection; where it fails, it is asked again", async () => {
  const tokens: (() => string | Promise<string>)[] = [
    () => {
      throw new Error("offline");
    },
    () => Promise.reject(new Error("still offline")),
    () => "ada-1",
    () => Promise.resolve("ada-2"),
  ];
  let asked = 0;
  await using at = await start({ authenticate: byToken(users()) });
  using client = connectClient(at.port, { token: () => tokens[asked++]!() });
  const errors: string[] = [];
  client.on("error", ({ message }) => void errors.push(message));
  await until(() => client.status === "connected");
  assert.deepEqual([asked, errors], [3, ["offline", "still offline"]]);
  assert.equal((client.user as unknown as User).role, "admin");
  // The server has everybody connect again.
  const { port } = at;
  await at.server.close();
  const server = createServer({
    kv: ":memory:",
    authenticate: byToken(users()),
  });
  await using _ = server;
  await server.listen({ port, host: "127.0.0.1" });
  await until(() => client.status === "connected");
  assert.equal(asked, 4);
  assert.equal((client.user as unknown as User).role, "guest");
  // The same on the connection that there is.
  await assert.rejects(
    client.setToken(() => Promise.reject(new Error("no token"))),
    /no token/,
  );
  await client.setToken(() => Promise.resolve("ada-1"));
  assert.equal((client.user as unknown as User).role, "admin");
});

Deno.test("setToken() while the server still asks about another one is shown right after", async () => {
  const gate = Promise.withResolvers<void>();
  const asked: (string | undefined)[] = [];
  const known = users();
  await using at = await start({
    authenticate: async (_, { token = "" }) => {
      asked.push(token);
      if (asked.length === 1) await gate.promise;
      return known.get(token) ?? null;
    },
  });
  using client = connectClient(at.port, { token: "ada-2" });
  await until(() => asked.length === 1);
  const taken = client.setToken("ada-1");
  gate.resolve();
  await taken;
  assert.deepEqual(asked, ["ada-2", "ada-1"]);
  assert.equal((client.user as unknown as User).role, "admin");
});

Deno.test("setToken() while offline is what the next connection shows", async () => {
  await using at = await start({ authenticate: byToken(users()) });
  const { port } = at;
  using client = connectClient(port, { token: "ada-2" });
  await client.ready();
  await at.server.close();
  await until(() => client.status === "reconnecting");
  const taken = client.setToken("ada-1");
  const server = createServer({
    kv: ":memory:",
    authenticate: byToken(users()),
  });
  await using _ = server;
  await server.listen({ port, host: "127.0.0.1" });
  await taken;
  assert.equal((client.user as unknown as User).role, "admin");
});

Deno.test("without authenticate everybody is nobody, whatever they show", async () => {
  await using at = await start();
  await using client = await RawClient.connect(at.port);
  const welcome = await client.hello({ token: "ada-1" });
  assert.ok(!("user" in welcome));
  sendCall(client, 1, { name: "whoami" });
  assert.deepEqual((await client.next("res")).value, {
    user: null,
    clientId: welcome.clientId,
  });
  const again = await client.hello({
    session: welcome.session,
    token: "other",
  });
  assert.equal(again.resumed, true);
});
