/**
 * What the compiler says to those who use a contract. Most of this never runs: a
 * line that must not compile stands under "@ts-expect-error", which is an error
 * itself where the line does. The last test proves that this file would notice.
 */
import {
  type App,
  type Authenticate,
  type Client,
  createClient,
  createServer,
  defineApp,
  type MutatorInput,
  type PresenceOf,
  type Server,
  type StateOf,
} from "@headwater/sync";
import assert from "node:assert/strict";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import type { valibotApp, zodApp } from "./_contract.ts";
import { tempDir } from "./_harness.ts";

type A = typeof zodApp;
type Todo = { id: string; text: string; done: boolean };

/** True where both are the same type, `any` being none but itself. */
type Same<X, Y> = (<T>() => T extends X ? 1 : 2) extends
  (<T>() => T extends Y ? 1 : 2) ? true : false;

function same<X, Y>(..._: Same<X, Y> extends true ? [] : [never]): void {}

/** Never called. */
export function states(): void {
  same<StateOf<A, "Todos">, { items: Todo[] }>();
  same<StateOf<A, "Room:*">, { messages: string[] }>();
  same<StateOf<A, "Room:42">, { messages: string[] }>();
  same<StateOf<A, `Room:${string}`>, { messages: string[] }>();
  same<StateOf<A, "Room:secret:1">, { secret: number }>();
  same<StateOf<A, "Room:lobby">, { visitors: number }>();
  same<StateOf<typeof valibotApp, "Todos">, { items: Todo[] }>();
  same<StateOf<typeof valibotApp, "Room:42">, { messages: string[] }>();
  same<PresenceOf<A>, { cursor: [number, number] | null }>();
  same<
    MutatorInput<A, "addTodo">,
    { text: string; done?: boolean | undefined }
  >();
  same<MutatorInput<A, "say">, { text: string }>();
  same<MutatorInput<A, "clear">, unknown>();
  // @ts-expect-error: so that same() itself is known to see a difference
  same<StateOf<A, "Todos">, { items: string[] }>();
}

/** Never called. */
export function authentication(known: Map<string, Todo>): void {
  const good: Authenticate[] = [
    (_, { token = "" }) => known.get(token),
    async (_, { token = "" }) => await Promise.resolve(known.get(token)),
    (_, { token }) => token === "s3cret" && { id: "ada", groups: ["admins"] },
    (_, { token }) => token || null,
    () => {
      throw new Error("nobody");
    },
  ];
  createServer({ authenticate: good[0]! });
  // @ts-expect-error: true says of nobody who it is
  createServer({ authenticate: (_, { token }) => token === "s3cret" });
  // @ts-expect-error: nor does a promise of it
  createServer({ authenticate: () => Promise.resolve(known.has("s3cret")) });
}

/** Never called. */
export async function server(server: Server<A>): Promise<void> {
  const todos = server.createStore("Todos");
  const rooms = server.createStore("Room:*", { ttlMs: 1_000 });
  const { value } = await todos.update((draft) => draft.items.length);
  same<typeof value, number>();
  await rooms.set("42", { messages: ["a"] });
  const lobby = await server.store("Room:lobby")?.get();
  same<typeof lobby, { visitors: number } | undefined>();
  await server.store(`Room:${value}`)?.update((draft) => {
    draft.messages.push("b");
  });

  // @ts-expect-error: a name that the contract does not have
  server.createStore("Todoz");
  // @ts-expect-error: a store that is not in the contract
  server.createStore("Other", { items: [] });
  // @ts-expect-error: options of a store whose state the contract rules
  server.createStore("Todos", { version: 2 });
  // @ts-expect-error: an option that there is not
  server.createStore("Todos", { ttl: 2 });
  // @ts-expect-error: a name that no definition covers
  server.store("Todoz");
  // @ts-expect-error: a field that the state does not have
  await todos.update((draft) => draft.item);
  // @ts-expect-error: a field of another type
  await rooms.set("42", { messages: [1] });
  // @ts-expect-error: the key is missing
  await rooms.set({ messages: [] });
  // @ts-expect-error: a field that is missing
  await todos.update((draft) => void draft.items.push({ id: "", text: "" }));
}

/** Never called. */
export function functions(server: Server<A>): void {
  server.handle("todos.add", (args, ctx) => {
    same<
      typeof args,
      { text: string; done?: boolean | undefined; times: number }
    >();
    return { id: ctx.id(), count: args.times };
  });
  server.handle("todos.clear", (args) => same<typeof args, unknown>());
  // What a result's schema fills in may be left out.
  server.handle("todos.find", (id) => [{ id: id ?? "", text: "" }], {
    once: true,
  });

  // @ts-expect-error: a name that the contract does not have
  server.handle("todos.ad", () => {});
  // @ts-expect-error: a field that the arguments do not have
  server.handle("todos.add", ({ txt }) => ({ id: txt, count: 1 }));
  // @ts-expect-error: a result with a field of another type
  server.handle("todos.add", () => ({ id: 1, count: 1 }));
  // @ts-expect-error: no result
  server.handle("todos.add", () => {});
  // @ts-expect-error: arguments of another type
  server.handle("todos.add", (text: string) => ({ id: text, count: 1 }));
}

/** Never called. */
export function emits(server: Server<A>): void {
  server.emit("toast", { text: "a" });
  server.emit("toast", { text: "a", loud: true }, { clientId: "c" });
  server.emit("tick");

  // @ts-expect-error: a channel that the contract does not have
  server.emit("toasts", { text: "a" });
  // @ts-expect-error: no data
  server.emit("toast");
  // @ts-expect-error: a field that is missing
  server.emit("toast", {});
  // @ts-expect-error: data of another type
  server.emit("tick", "1");
}

/** Never called. */
export async function client(client: Client<A>, key: string): Promise<void> {
  const todos = client.subscribe("Todos", (state) => {
    same<typeof state, { items: Todo[] }>();
  });
  const state = todos.getState();
  same<typeof state, { items: Todo[] } | undefined>();
  const room = client.subscribe(`Room:${key}`).getState();
  same<typeof room, { messages: string[] } | undefined>();

  const result = await client.call("todos.add", { text: "a" });
  same<typeof result, { id: string; count: number }>();
  await client.call("todos.clear");
  await client.call("todos.find", undefined, {
    signal: AbortSignal.timeout(1),
  });
  const off = client.on("toast", (data) => {
    same<typeof data, { text: string; loud: boolean }>();
  });
  same<typeof off, () => void>();
  client.on("connected", ({ clientId }) => same<typeof clientId, string>());

  // @ts-expect-error: a name that the contract does not have
  client.subscribe("Todoz");
  // @ts-expect-error: the kind is missing
  client.subscribe(key);
  // @ts-expect-error: types are the contract's, not the caller's
  client.subscribe<{ items: string[] }>("Todos");
  // @ts-expect-error: a field that the state does not have
  client.subscribe("Todos", ({ item }) => item);
  // @ts-expect-error: a name that the contract does not have
  await client.call("todos.ad", { text: "a" });
  // @ts-expect-error: no arguments
  await client.call("todos.add");
  // @ts-expect-error: a field that is missing
  await client.call("todos.add", {});
  // @ts-expect-error: a field of another type
  await client.call("todos.add", { text: 1 });
  // @ts-expect-error: a field that there is not
  await client.call("todos.add", { text: "a", dun: true });
  // @ts-expect-error: a field that the result does not have
  (await client.call("todos.add", { text: "a" })).key;
  // @ts-expect-error: a channel that the contract does not have
  client.on("toasts", () => {});
  // @ts-expect-error: a field that the event does not have
  client.on("toast", ({ txt }) => txt);
}

/** Never called. */
export async function mutates(client: Client<A>): Promise<void> {
  await client.mutate("addTodo", { text: "a" });
  await client.mutate("clear");

  // @ts-expect-error: a name that the contract does not have
  await client.mutate("addTod", { text: "a" });
  await client.mutate("addTodo", { text: "a" }, { store: "Todos" });
  await client.mutate("say", { text: "a" }, { store: "Room:1" });

  // @ts-expect-error: no arguments
  await client.mutate("addTodo");
  // @ts-expect-error: a field of another type
  await client.mutate("addTodo", { text: 1 });
  // @ts-expect-error: a field that there is not
  await client.mutate("addTodo", { text: "a", dun: true });
  // @ts-expect-error: a store that the mutator is not for
  await client.mutate("addTodo", { text: "a" }, { store: "Room:1" });
  // @ts-expect-error: a mutator for all of a kind needs to know which
  await client.mutate("say", { text: "a" });
  // @ts-expect-error: the same, with other options
  await client.mutate("say", { text: "a" }, { policy: "rebase" });
  // @ts-expect-error: none of the kind
  await client.mutate("say", { text: "a" }, { store: "Todos" });
}

/** Never called. */
export async function guesses(client: Client<A>): Promise<void> {
  await client.call("todos.clear", undefined, {
    store: "Todos",
    optimistic: (state) => {
      same<typeof state, { items: Todo[] }>();
      return { ...state, items: [] };
    },
    signal: AbortSignal.timeout(1),
  });
  await client.call("todos.add", { text: "a" }, {
    optimistic: {
      Todos: (state) => ({ items: state.items.slice(1) }),
      "Room:42": (state) => ({ messages: [...state.messages, "a"] }),
      "Room:lobby": (state) => ({ visitors: state.visitors + 1 }),
    },
  });

  // @ts-expect-error: a store that the contract does not have
  await client.call("todos.clear", undefined, {
    store: "Todoz",
    optimistic: (state: { n: number }) => state,
  });
  // @ts-expect-error: the state of another store
  await client.call("todos.clear", undefined, {
    store: "Todos",
    optimistic: (state: { n: number }) => state,
  });
  await client.call("todos.clear", undefined, {
    store: "Todos",
    // @ts-expect-error: a field that the state does not have
    optimistic: ({ item }) => ({ items: item }),
  });
  // @ts-expect-error: a store that the contract does not have
  await client.call("todos.clear", undefined, {
    optimistic: { Todoz: (state: { n: number }) => state },
  });
  // @ts-expect-error: the state of another store
  await client.call("todos.clear", undefined, {
    optimistic: { Todos: (state: { n: number }) => state },
  });
  // @ts-expect-error: a field of another type
  await client.call("todos.clear", undefined, {
    optimistic: { "Room:lobby": () => ({ visitors: "1" }) },
  });
}

/** Never called. */
export function contracts(): void {
  const schema = z.object({ n: z.number() });
  defineApp({
    stores: {
      Counter: { schema, initial: { n: 0 }, migrate: () => ({ n: 1 }) },
    },
    mutators: {
      add: {
        store: "Counter",
        args: z.number(),
        run: (draft, by, ctx) => void (draft.n += by + ctx.now),
      },
    },
  });
  // @ts-expect-error: an initial state that is not the schema's
  defineApp({ stores: { Counter: { schema, initial: { n: "0" } } } });
  // @ts-expect-error: a store that the contract does not have
  defineApp({ stores: {}, mutators: { add: { store: "Counter", run() {} } } });
  defineApp({
    stores: { Counter: { schema, initial: { n: 0 } } },
    mutators: {
      // @ts-expect-error: a field that the state does not have
      add: { store: "Counter", run: (draft) => draft.m },
    },
  });
  defineApp({
    stores: { Counter: { schema, initial: { n: 0 } } },
    mutators: {
      add: {
        store: "Counter",
        args: z.object({ by: z.number() }),
        // @ts-expect-error: a field that the arguments do not have
        run: (draft, args) => void (draft.n += args.bye),
      },
    },
  });
}

/** Never called. */
export async function withoutContract(
  server: Server,
  client: Client,
): Promise<void> {
  const free = server.createStore("Any:*", { n: 0 });
  await free.update("1", (draft) => void draft.n++);
  server.handle("any", ({ n }: { n: number }) => n);
  server.emit("any", { n: 1 });
  const handle = client.subscribe<{ n: number }>("Any:1", ({ n }) => n);
  same<ReturnType<typeof handle.getState>, { n: number } | undefined>();
  const unknown = await client.call("any", { n: 1 });
  same<typeof unknown, unknown>();
  const claimed = await client.call<number>("any", { n: 1 });
  same<typeof claimed, number>();
  client.on<number>("any", (n) => same<typeof n, number>());
  const optimistic = ({ n }: { n: number }) => ({ n: n + 1 });
  await client.call("any", { n: 1 }, { store: "Any:1", optimistic });
  await client.call("any", { n: 1 }, { optimistic: { "Any:1": optimistic } });
  await client.mutate("any", { n: 1 }, { store: "Any:1" });

  // @ts-expect-error: a name must be a text
  client.subscribe(1);
  // @ts-expect-error: a store needs a state to begin with
  server.createStore("Other");
}

/** Never called. A part that a contract leaves out stays free. */
export async function inPart(): Promise<void> {
  const app = defineApp({ functions: { ping: { result: z.string() } } });
  const server = createServer({ app });
  const counter = server.createStore("Counter", { n: 0 });
  await counter.update((draft) => void draft.n++);
  server.emit("any", 1);
  const client = createClient<typeof app>("ws://localhost:4400");
  client.subscribe<{ n: number }>("Counter", ({ n }) => n);
  const pong = await client.call("ping");
  same<typeof pong, string>();
  // @ts-expect-error: a name that the contract does not have
  await client.call("pong");
  // Code that knows nothing of a contract takes its server and its client all the same.
  await withoutContract(server, client);
  const any: App = app;
  return void any;
}

/** What must be noticed: in which file, what stands there, and what takes its place. */
const LOOSENED: readonly { file: string; text: string; loose: string }[] = [
  // Any name will do.
  {
    file: "protocol/contract_lookup.ts",
    text: "keyof PartOf<A, P> ? T : never",
    loose: "keyof PartOf<A, P> ? T : T",
  },
  // Arguments of any type will do.
  {
    file: "protocol/schema.ts",
    text: "? Input : never",
    loose: "? any : never",
  },
  // A state has no type.
  {
    file: "protocol/contract.ts",
    text: "infer T } ? OutputOf<T>",
    loose: "infer T } ? any",
  },
  // A field that is not there will do.
  {
    file: "protocol/schema.ts",
    text: "infer Output> ? Output",
    loose: "infer Output> ? Output & Record<string, never>",
  },
  // A guess of any state will do.
  {
    file: "client/api.ts",
    text: "state: StateOf<A, N>,\n) => StateOf<A, N>",
    loose: "state: never,\n) => unknown",
  },
  // A mutator for all of a kind need not know which.
  {
    file: "client/api.ts",
    text: "? P extends `${string}:*` ? [",
    loose: "? P extends `${string}:+` ? [",
  },
];

const COPIED = [
  "deno.json",
  "deno.lock",
  "mod.ts",
  "protocol",
  "client",
  "server",
  "adapters",
  "tests",
];

/** The lines of this file at which the compiler finds fault. */
async function check(folder: string): Promise<string[]> {
  const { stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["check", "tests/contract_types_test.ts"],
    cwd: folder,
    env: { NO_COLOR: "1" },
  }).output();
  return new TextDecoder().decode(stderr)
    .match(/contract_types_test\.ts:\d+/g) ?? [];
}

Deno.test("these type tests fail where a type is loosened", async () => {
  await using copy = await tempDir();
  const root = join(import.meta.dirname!, ".."); // a file has a folder
  for (const part of COPIED) {
    await cp(join(root, part), join(copy.path, part), { recursive: true });
  }
  assert.deepEqual(await check(copy.path), []);
  for (const { file, text, loose } of LOOSENED) {
    const path = join(copy.path, file);
    const before = await Deno.readTextFile(path);
    assert.ok(before.includes(text), `${file} has no "${text}"`);
    await Deno.writeTextFile(path, before.replace(text, loose));
    const faults = await check(copy.path);
    assert.ok(faults.length > 0, `${file} may have "${loose}" unseen`);
    await Deno.writeTextFile(path, before);
  }
});
