/**
 * What the compiler says to those who use the hooks with a contract. Most of this never
 * runs: a line that must not compile stands under "@ts-expect-error", which is an error
 * itself where the line does. The last test proves that this file would notice.
 */
import assert from "node:assert/strict";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { createStore } from "zustand/vanilla";
import {
  createHooks,
  HeadwaterProvider,
  useCall,
  useEvent,
  useMutation,
  useStore,
  useStoreData,
  useUpdate,
} from "../adapters/react/mod.ts";
import {
  bindZustand,
  headwater,
  type Mirror,
  type MirroredStates,
} from "../adapters/zustand.ts";
import type { Client } from "../client/mod.ts";
import type { zodApp } from "./_contract.ts";
import { tempDir } from "./_harness.ts";

type A = typeof zodApp;
type Todo = { id: string; text: string; done: boolean };

const hooks = createHooks<A>();

/** True where both are the same type, `any` being none but itself. */
type Same<X, Y> = (<T>() => T extends X ? 1 : 2) extends
  (<T>() => T extends Y ? 1 : 2) ? true : false;

function same<X, Y>(..._: Same<X, Y> extends true ? [] : [never]): void {}

/** Never called. */
export function Stores({ room }: { room: string }) {
  const { useStore, useStoreData } = hooks;
  const todos = useStore("Todos");
  same<typeof todos.data, { items: Todo[] } | undefined>();
  same<typeof todos.error, Error | undefined>();
  if (!todos.isPending && !todos.error) {
    same<typeof todos.data, { items: Todo[] }>();
  }
  if (todos.error) same<typeof todos.data, { items: Todo[] } | undefined>();
  const { data, error, isPending } = useStore("Todos", ({ items }) => items);
  if (isPending) same<typeof data, undefined>();
  else if (!error) same<typeof data, Todo[]>();
  const count = useStoreData("Todos", ({ items }) => items.length);
  same<typeof count, number>();
  const { messages } = useStoreData(`Room:${room}`);
  same<typeof messages, string[]>();
  useStore("Room:lobby", ({ visitors }) => visitors, (a, b) => a > b);

  // @ts-expect-error: a name that the contract does not have
  useStore("Todoz");
  // @ts-expect-error: the kind is missing
  useStore(room);
  // @ts-expect-error: a field that the state does not have
  useStore("Todos", ({ item }) => item);
  // @ts-expect-error: types are the contract's, not the caller's
  useStore<{ items: string[] }>("Todos");
  // @ts-expect-error: a name that the contract does not have
  useStoreData("Todoz");
  // @ts-expect-error: a field that the state does not have
  useStoreData("Todos", ({ item }) => item);
  // @ts-expect-error: what is compared is a number
  useStoreData("Todos", ({ items }) => items.length, (a: string) => a !== "");
  // @ts-expect-error: there may be none yet
  return todos.data.items;
}

/** Never called. */
export function Writes() {
  const { useMutation, useUpdate } = hooks;
  const update = useUpdate("Todos");
  void update((draft) => {
    same<typeof draft, { items: Todo[] }>();
  }, { policy: "expectVersion" });
  const addTodo = useMutation("addTodo");
  void addTodo({ text: "a" });
  void useMutation("say")({ text: "a" }, { store: "Room:42" });
  void useMutation("clear")();

  // @ts-expect-error: a name that the contract does not have
  useUpdate("Todoz");
  // @ts-expect-error: a field that the state does not have
  void update((draft) => void draft.item);
  // @ts-expect-error: a field of another type
  void update((draft) => void (draft.items = ["a"]));
  // @ts-expect-error: a name that the contract does not have
  useMutation("addTodoz");
  // @ts-expect-error: no arguments
  void addTodo();
  // @ts-expect-error: a field of another type
  void addTodo({ text: 1 });
}

/** Never called. */
export async function Calls() {
  const { useCall, useClient, useEvent } = hooks;
  const add = useCall("todos.add", {
    optimistic: {
      Todos: ({ items }, { text }) => ({
        items: [...items, { id: text, text, done: false }],
      }),
      "Room:42": (room) => room,
    },
  });
  same<typeof add.data, { id: string; count: number } | undefined>();
  const { id } = await add.run({ text: "a" });
  same<typeof id, string>();
  void useCall("todos.clear").run();
  useEvent("toast", ({ loud }) => same<typeof loud, boolean>());
  useEvent("connected", ({ clientId }) => same<typeof clientId, string>());
  same<ReturnType<typeof useClient>, Client<A>>();

  // @ts-expect-error: a name that the contract does not have
  useCall("todos.ad");
  // @ts-expect-error: no arguments
  void add.run();
  // @ts-expect-error: a field of another type
  void add.run({ text: 1 });
  // @ts-expect-error: a store that the contract does not have
  useCall("todos.add", { optimistic: { Todoz: (state: unknown) => state } });
  // @ts-expect-error: another state than the store's
  useCall("todos.add", { optimistic: { Todos: () => ({ items: ["a"] }) } });
  // @ts-expect-error: arguments that the function does not take
  useCall("todos.add", { optimistic: { Todos: (_, { key }) => key } });
  // @ts-expect-error: a field that the result does not have
  void add.data?.key;
  // @ts-expect-error: a channel that the contract does not have
  useEvent("toasts", () => {});
  // @ts-expect-error: a field that the event does not have
  useEvent("toast", ({ txt }) => txt);
}

/** Never called. */
export function Provider({ client }: { client: Client<A> }) {
  const { HeadwaterProvider } = hooks;
  const other: Client<{ stores: { Other: { initial: { n: number } } } }> =
    client as never;
  return (
    <>
      <HeadwaterProvider
        client={client}
        initialStates={{ Todos: { items: [] }, "Room:1": { messages: [] } }}
        fallback="One moment"
      >
        <p />
      </HeadwaterProvider>
      <HeadwaterProvider url={new URL("ws://localhost")} options={{}} />
      {/* @ts-expect-error: neither a client nor a URL */}
      <HeadwaterProvider />
      {/* @ts-expect-error: both a client and a URL */}
      <HeadwaterProvider client={client} url="ws://localhost" />
      {/* @ts-expect-error: a store that the contract does not have */}
      <HeadwaterProvider client={client} initialStates={{ Todoz: {} }} />
      <HeadwaterProvider
        client={client}
        // @ts-expect-error: another state than the store's
        initialStates={{ Todos: { items: ["a"] } }}
      />
      {/* @ts-expect-error: a client of another contract */}
      <HeadwaterProvider client={other} />
    </>
  );
}

/** Never called. */
export function WithoutContract({ client }: { client: Client }) {
  interface Todos {
    items: string[];
  }
  const all = useStore<Todos>("Todos").data;
  same<typeof all, Todos | undefined>();
  const items = useStoreData("Todos", ({ items }: Todos) => items);
  same<typeof items, string[]>();
  void useUpdate<Todos>("Todos")((draft) => void draft.items.push("a"));
  void useMutation("any")({ n: 1 });
  const call = useCall<number>("any", {
    optimistic: { Todos: (todos: Todos, _: { n: number }) => todos },
  });
  void call.run({ n: 1 }).then((n) => same<typeof n, number>());
  useEvent("toast", (text: string) => text);
  const free = createHooks();
  const { data } = free.useStore("Todos", ({ items }: Todos) => items);
  same<typeof data, string[] | undefined>();
  return (
    <HeadwaterProvider client={client} initialStates={{ Todos: { items: [] } }}>
      {data}
    </HeadwaterProvider>
  );
}

/** Never called. */
export function zustand(client: Client<A>): void {
  type Names = "Todos" | "Room:1";
  const useStore = createStore<Mirror<MirroredStates<A, Names>>>(() => ({
    status: "idle",
    stores: {},
  }));
  same<() => void, ReturnType<typeof bindZustand>>();
  bindZustand(useStore, client, { stores: ["Todos", "Room:1"] });
  bindZustand(useStore, client, { stores: ["Todos"] });
  const { data, update } = createStore(headwater(client, "Todos")).getState();
  same<typeof data, { items: Todo[] } | undefined>();
  void update((draft) => draft.items.pop());

  // @ts-expect-error: a name that the contract does not have
  bindZustand(useStore, client, { stores: ["Todoz"] });
  const useOther = createStore<Mirror<{ Todos?: { items: string[] } }>>(() => ({
    status: "idle",
    stores: {},
  }));
  // @ts-expect-error: another state than the store's
  bindZustand(useOther, client, { stores: ["Todos"] });
  // @ts-expect-error: a name that the contract does not have
  headwater(client, "Todoz");
  // @ts-expect-error: a field that the state does not have
  void update((draft) => draft.item);
}

/** What must be noticed: what stands in a file, what takes its place, and the line above that tells. */
const LOOSENED: readonly {
  file: string;
  text: string;
  loose: string;
  line: string;
}[] = [
  {
    file: "adapters/react/hooks.ts",
    text: '<T = unknown>(name: IfOpen<A, "stores", string>): StoreView<T>;',
    loose: "<T = unknown>(name: string): StoreView<T>;",
    line: "// @ts-expect-error: the kind is missing",
  },
  {
    file: "adapters/react/hooks.ts",
    text: "selector: (state: StateOf<A, N>) => S,",
    loose: "selector: (state: never) => S,",
    line: 'useStoreData("Todos", ({ items }) => items.length);',
  },
  {
    file: "adapters/react/hooks.ts",
    text: "CallView<ArgsAndOptions<ArgsInput<A, N>, CallOptions>,",
    loose: "CallView<unknown[],",
    line: "// @ts-expect-error: no arguments\n  void add.run",
  },
  {
    file: "adapters/react/store_view.ts",
    text: "readonly data: S | undefined;",
    loose: "readonly data: S;",
    line: "if (todos.error) same",
  },
  {
    file: "adapters/react/provider.ts",
    text: "readonly [N in StoreName<A>]?: StateOf<A, N>",
    loose: "readonly [N in StoreName<A>]?: object",
    line:
      "// @ts-expect-error: another state than the store's\n        initial",
  },
  {
    file: "adapters/zustand.ts",
    text: "useStore: MirrorStore<MirroredStates<A, N>>,",
    loose: "useStore: { getState(): unknown },",
    line: "// @ts-expect-error: another state than the store's\n  bindZustand",
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

const NAME = "tests/react_types_test.tsx";

/** The lines of this file at which the compiler finds fault. */
async function check(folder: string): Promise<number[]> {
  const { stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["check", NAME],
    cwd: folder,
    env: { NO_COLOR: "1" },
  }).output();
  return [
    ...new TextDecoder().decode(stderr)
      .matchAll(/react_types_test\.tsx:(\d+)/g),
  ].map(([, line]) => Number(line));
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
    await Deno.writeTextFile(path, before.replaceAll(text, loose));
  }
  // All at once: each check takes seconds.
  const faults = await check(copy.path);
  const above = await Deno.readTextFile(join(root, NAME));
  for (const { loose, line } of LOOSENED) {
    const [before] = above.split(line);
    const number = before?.split("\n").length ?? 0;
    assert.ok(faults.includes(number), `"${loose}" is not seen at ${number}`);
  }
});
