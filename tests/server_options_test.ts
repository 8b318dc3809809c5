/** What createServer(), createStore() and listen() refuse, and how they say it. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openDenoKv } from "../adapters/deno_kv.ts";
import {
  createServer,
  defineApp,
  type Limits,
  type ListenOptions,
  type ServerOptions,
} from "../server/mod.ts";
import { tempDir } from "./_harness.ts";

/** Anything, as somebody without types would use it. */
// deno-lint-ignore no-explicit-any
type Untyped = any;

/** As somebody without types would write it. */
function create(options: unknown) {
  return createServer(options as ServerOptions);
}

Deno.test("createServer() refuses a KV that is neither a path, memory nor an http(s) URL, and makes no file", async () => {
  await using folder = await tempDir();
  const before = Deno.cwd();
  Deno.chdir(folder.path);
  try {
    for (
      const kv of ["redis://localhost", "file:///tmp/a", "http://", "", " "]
    ) {
      assert.throws(() => createServer({ kv }), {
        name: "RangeError",
        message:
          `Cannot create a server: kv must be a path, ":memory:" or an http(s) URL, found "${kv}"`,
      });
      await assert.rejects(openDenoKv(kv), { name: "RangeError" });
    }
    assert.deepEqual([...Deno.readDirSync(".")], []);
  } finally {
    Deno.chdir(before);
  }
});

Deno.test("createServer() takes every kind of KV that there is", () => {
  for (
    const kv of [
      ":memory:",
      "state.db",
      "/tmp/a:b",
      "c:\\data\\state.db",
      "http://localhost:4512",
      "HTTPS://kv.example/x",
      { atomic() {} },
    ]
  ) create({ kv });
});

Deno.test("createServer() says what it was given in the place of a KV", () => {
  for (
    const [kv, found] of [
      [5, "5"],
      [null, "null"],
      [Promise.resolve(), "a promise"],
      [{}, "an object"],
    ] as const
  ) {
    assert.throws(() => create({ kv }), {
      name: "TypeError",
      message:
        `Cannot create a server: kv must be a path, ":memory:", an http(s) URL or a KV that was opened, not ${found}`,
    });
  }
});

Deno.test("createServer() refuses options that there are not, and values of another kind", () => {
  for (
    const [options, message] of [
      [
        ":memory:",
        /^Cannot create a server: its options must be an object, not ":memory:"$/,
      ],
      [
        { limit: {} },
        /^Cannot create a server: there is no option "limit"; there are app, kv, sync, limits, /,
      ],
      [{ toString: 1 }, /there is no option "toString"/],
      [{ sync: "no" }, /: sync must be true or false, not "no"$/],
      [{ limits: 5 }, /: limits must be an object, not 5$/],
      [{ limits: [] }, /: limits must be an object, not an array$/],
      [
        { limits: { conections: 5 } },
        /: there is no limit "conections"; there are messageBytes, /,
      ],
      [
        { limits: { connections: "5" } },
        /: limit connections must be a number, not "5"$/,
      ],
      [
        { limits: { idleMs: null } },
        /: limit idleMs must be a number, not null$/,
      ],
    ] as const
  ) {
    assert.throws(() => create(options), { name: "TypeError", message });
  }
});

Deno.test("createServer() takes limits that are whole numbers in their range, and no others", () => {
  const bad: Partial<Limits>[] = [
    { connections: 0 },
    { connections: 1.5 },
    { connections: -1 },
    { connections: NaN },
    { depth: Infinity },
    { messageBytes: Infinity },
    { helloMs: 0 },
    { helloMs: 0.5 },
    { fanoutMs: -1 },
    { fanoutMs: 1.5 },
    { leaseMs: 39 },
    { recipeValueBytes: -1 },
    { stateBytes: 2 ** 53 },
    { eventBytes: 57_345 },
  ];
  for (const limits of bad) {
    const [[name, value] = []] = Object.entries(limits);
    assert.throws(() => createServer({ limits }), {
      name: "RangeError",
      message: RegExp(
        `^Cannot create a server: limit ${name} must be .*, not ${value}$`,
      ),
    });
  }
  const good: Partial<Limits>[] = [
    { connections: 1 },
    { connections: Infinity },
    { fanoutMs: 0 },
    { idleMs: Infinity },
    { leaseMs: 40 },
    { recipeValueBytes: 0 },
    { subscriptionsPerConnection: 0 },
    { eventBytes: 57_344 },
  ];
  for (const limits of good) createServer({ limits });
});

Deno.test("createServer() has the default for a limit that is undefined", async () => {
  await using server = create({
    kv: ":memory:",
    limits: { connections: undefined, nameLength: undefined },
  });
  await server.createStore("Todos", { items: [] }).init();
});

Deno.test("createStore() refuses options that there are not, and values of another kind", () => {
  const server: Untyped = createServer({ kv: ":memory:" });
  for (
    const [options, message] of [
      [null, /: its options must be an object, not null$/],
      [
        { tttlMs: 5 },
        /^Cannot create store "Todos": there is no option "tttlMs"; there are read, view, audience, write, intercept, ttlMs, selfDestruct, history, schema, version, migrate$/,
      ],
      [{ read: 1 }, /: read must be true, false or a function, not 1$/],
      [
        { write: "all" },
        /: write must be true, false or a function, not "all"/,
      ],
      [{ view: {} }, /: view must be a function, not an object$/],
      [{ intercept: 1 }, /: intercept must be a function, not 1$/],
      [{ selfDestruct: true }, /: selfDestruct must be a function, not true$/],
      [{ migrate: "x" }, /: migrate must be a function, not "x"$/],
      [{ audience: "all" }, /: audience must be a function, not "all"$/],
      [{ version: "1" }, /: version must be a number, not "1"$/],
      [
        { schema: {} },
        /^Cannot create store "Todos": schema must be a schema that follows Standard Schema, such as Zod's z.object\(\{ … \}\), not an object$/,
      ],
      [{ schema: { type: "object" } }, /, not an object$/],
      [{ schema: { "~standard": { version: 2 } } }, /, not an object$/],
      [{ schema: null }, /, not null$/],
      [{ history: 5 }, /: history must be an object, not 5$/],
      [{ history: null }, /: history must be an object, not null$/],
      [{ history: false }, /: history must be an object, not false$/],
      [
        { history: { versions: "9" } },
        /: its history: versions must be a number, not "9"$/,
      ],
      [
        { history: { version: 5 } },
        /^Cannot create store "Todos": its history: there is no option "version"; there are versions, ageMs, bytes$/,
      ],
    ] as const
  ) {
    const create = () => server.createStore("Todos", {}, options);
    assert.throws(create, { name: "TypeError", message });
  }
  // Nothing of it is left: the name is free.
  server.createStore("Todos", {}, { ttlMs: 5, read: undefined });
});

/** What `ttlMs` cannot be, with the error's class and how it is shown. */
const BAD_TTLS: readonly (readonly [unknown, string, string])[] = [
  ["5", "TypeError", '"5"'],
  [null, "TypeError", "null"],
  [true, "TypeError", "true"],
  [new Date(5), "TypeError", "an object"],
  [5n, "TypeError", "5"],
  [NaN, "RangeError", "NaN"],
  [-1, "RangeError", "-1"],
  [-Infinity, "RangeError", "-Infinity"],
  [0.5, "RangeError", "0.5"],
  [1e18, "RangeError", "1000000000000000000"],
  [2 ** 53, "RangeError", "9007199254740992"],
  [3_153_600_000_001, "RangeError", "3153600000001"],
];

Deno.test("ttlMs is a whole number of at most 100 years, or Infinity, wherever it is given", async () => {
  await using server = createServer({ kv: ":memory:" });
  const games: Untyped = server.createStore("Game:*", { level: 1 });
  const define: Untyped = server.createStore.bind(server);
  for (const [ttlMs, name, shown] of BAD_TTLS) {
    const rule =
      `ttlMs must be a whole number from 0 to 3153600000000 (100 years), or Infinity, not ${shown}`;
    assert.throws(() => define("Todos", {}, { ttlMs }), {
      name,
      message: `Cannot create store "Todos": ${rule}`,
    });
    await assert.rejects(games.create("a", { ttlMs }), {
      name,
      message: `Cannot create a store of "Game:*": ${rule}`,
    });
  }
  assert.deepEqual(await server.listStores(), []);
  assert.equal(await games.create("a", { ttlMs: 3_153_600_000_000 }), "a");
  assert.deepEqual(await games.list(), ["a"]);
});

Deno.test("createStore() takes nothing that is for the contract to say", () => {
  const app = defineApp({ stores: { Todos: { initial: {}, version: 2 } } });
  const server: Untyped = createServer({ kv: ":memory:", app });
  for (const option of ["version", "schema", "migrate", "items"]) {
    assert.throws(() => server.createStore("Todos", { [option]: 1 }), {
      name: "TypeError",
      message:
        `Cannot create store "Todos": there is no option "${option}"; there are read, view, audience, write, intercept, ttlMs, selfDestruct, history`,
    });
  }
  assert.throws(() => server.createStore("Todos", undefined, { write: true }), {
    name: "TypeError",
    message:
      'Cannot create store "Todos": the contract has its initial state, so that its options come second, and nothing third',
  });
  server.createStore("Todos", { write: true });
});

Deno.test("handle() and create() refuse options that there are not", async () => {
  await using server = createServer({ kv: ":memory:" });
  const handle: Untyped = server.handle.bind(server);
  assert.throws(() => handle("add", () => 1, { onse: true }), {
    name: "TypeError",
    message: 'Cannot handle "add": there is no option "onse"; there are once',
  });
  const games: Untyped = server.createStore("Game:*", { level: 1 });
  await assert.rejects(games.create("a", { tttlMs: 5 }), {
    name: "TypeError",
    message:
      'Cannot create a store of "Game:*": there is no option "tttlMs"; there are initial, ttlMs',
  });
  assert.deepEqual(await games.list(), []);
});

Deno.test("listen() refuses what cannot be listened on, and may be called again", async () => {
  await using server = createServer({ kv: ":memory:" });
  for (
    const [options, name, message] of [
      [4400, "TypeError", "its options must be an object, not 4400"],
      [{ port: "4470" }, "TypeError", 'port must be a number, not "4470"'],
      [
        { port: 1.5 },
        "RangeError",
        "port must be a whole number from 0 to 65535, not 1.5",
      ],
      [
        { port: 65_536 },
        "RangeError",
        "port must be a whole number from 0 to 65535, not 65536",
      ],
      [
        { port: -1 },
        "RangeError",
        "port must be a whole number from 0 to 65535, not -1",
      ],
      [
        { prot: 0 },
        "TypeError",
        'there is no option "prot"; there are port, host, path, heartbeatMs, cert, key, transport',
      ],
      [{ host: 5 }, "TypeError", "host must be a string, not 5"],
      [{ host: "" }, "RangeError", 'host must be a name or an address, not ""'],
      [{ path: "ws" }, "RangeError", 'path must begin with "/", found "ws"'],
      [
        { heartbeatMs: 0.5 },
        "RangeError",
        "heartbeatMs must be a whole number from 0, not 0.5",
      ],
      [
        { heartbeatMs: Infinity },
        "RangeError",
        "heartbeatMs must be a whole number from 0, not Infinity",
      ],
      [
        { cert: "PEM" },
        "TypeError",
        "cert and key are used together, and key is missing",
      ],
      [
        { key: "PEM" },
        "TypeError",
        "cert and key are used together, and cert is missing",
      ],
    ] as const
  ) {
    await assert.rejects(server.listen(options as unknown as ListenOptions), {
      name,
      message: `Cannot listen: ${message}`,
    });
  }
  await server.listen({ host: "127.0.0.1", port: 0 });
});

Deno.test("a second listen() names the port that the server listens on", async () => {
  await using server = createServer({ kv: ":memory:" });
  const target = { host: "127.0.0.1", port: 0 };
  const first = server.listen(target);
  await assert.rejects(server.listen(target), {
    message: "Cannot listen twice: the server is about to listen",
  });
  await first;
  await assert.rejects(server.listen(target), {
    name: "TypeError",
    message:
      `Cannot listen twice: the server listens on port ${server.port} already`,
  });
});

Deno.test("openDenoKv() says how Deno KV is turned on, where it is off", async () => {
  await using folder = await tempDir();
  const root = fileURLToPath(new URL("..", import.meta.url));
  const { imports } = JSON.parse(
    await Deno.readTextFile(join(root, "deno.json")),
  );
  // Those of this project, without "unstable": ["kv"].
  const config = join(folder.path, "deno.json");
  await Deno.writeTextFile(
    config,
    JSON.stringify({ imports, nodeModulesDir: "none" }).replaceAll(
      '"./',
      `"${root}`,
    ),
  );
  const script = join(folder.path, "server.ts");
  await Deno.writeTextFile(
    script,
    `import { createServer } from "@headwater/sync/server";
     const server = createServer({ kv: ":memory:" });
     await server.listen({ port: 0 }).catch(({ message }) => console.log(message));`,
  );
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--no-check",
      "--no-lock",
      `--config=${config}`,
      script,
    ],
    env: { NO_COLOR: "1" },
  }).output();
  const text = new TextDecoder();
  assert.equal(
    text.decode(stdout),
    `Cannot open KV ":memory:": Deno KV is off; run with --unstable-kv, or put "unstable": ["kv"] into deno.json\n`,
    text.decode(stderr),
  );
});
