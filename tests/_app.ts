/**
 * The application that end-to-end tests serve, in this process or in one of its
 * own, and how a raw client talks to it.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import {
  type Client,
  type ClientOptions,
  createClient,
} from "../client/mod.ts";
import type { CallFrame, ResumeToken } from "../protocol/frames.ts";
import type { Json } from "../protocol/value.ts";
import {
  createServer,
  type ListenOptions,
  type Server,
  type ServerOptions,
} from "../server/mod.ts";
import {
  type DownFrameOf,
  type FreshProcess,
  freshProcess,
  type RawClient,
} from "./_harness.ts";

/** State of the store "Entries": one label for each call of "entries.add". */
export interface Entries {
  items: string[];
}

/** State of the store "Big": over 200 KB, so that a snapshot cannot hide. */
export interface Big {
  title: string;
  rows: { id: number; text: string }[];
}

const ROWS = 2_000;
const FILLER = "All work and no play makes Jack a dull boy. ".repeat(3);

/** The stores that {@linkcode defineApp} has defined. */
export type App = ReturnType<typeof defineApp>;

/** Gives a server stores and functions. */
export function defineApp(server: Server) {
  const entries = server.createStore<Entries>("Entries", { items: [] });
  const big = server.createStore<Big>(
    "Big",
    {
      title: "",
      rows: Array.from({ length: ROWS }, (_, id) => ({ id, text: FILLER })),
    },
    // However busy a machine is, a test of resumes must not outlive what can be resumed.
    { history: { versions: 1_000_000 } },
  );
  const rooms = server.createStore("Room:*", { messages: [] as string[] });
  server.handle("entries.add", async ({ label }: { label: string }) => {
    const { value } = await entries.update((draft) => {
      draft.items.push(label);
      return draft.items.length;
    });
    return value;
  });
  server.handle(
    "entries.fill",
    async ({ n, bytes }: { n: number; bytes: number }) => {
      await entries.update((draft) => {
        draft.items = [`${n}`.padEnd(bytes)];
      });
    },
  );
  server.handle("big.title", async ({ title }: { title: string }) => {
    const { version } = await big.update((draft) => {
      draft.title = title;
    });
    return version;
  });
  server.handle(
    "big.row",
    async ({ row, text }: { row: number; text: string }) => {
      const { version } = await big.update((draft) => {
        const item = draft.rows[row];
        if (item) item.text = text;
      });
      return version;
    },
  );
  server.handle(
    "rooms.say",
    async ({ room, text }: { room: string; text: string }) => {
      await rooms.update(room, (draft) => void draft.messages.push(text));
    },
  );
  server.handle("echo", (args: unknown) => args ?? null);
  return { entries, big, rooms };
}

/** A server of the application that listens on a port of 127.0.0.1. */
export interface RunningApp extends App, AsyncDisposable {
  readonly server: Server;
  readonly port: number;
}

/** Starts the application in this process; `define` adds to it before it listens. */
export async function startApp(
  options: ServerOptions & {
    listen?: ListenOptions;
    define?: (server: Server) => void;
  } = {},
): Promise<RunningApp> {
  const { listen, define, ...rest } = options;
  const server = createServer({ kv: ":memory:", ...rest });
  const app = defineApp(server);
  define?.(server);
  await server.listen({ port: 0, host: "127.0.0.1", ...listen });
  return {
    ...app,
    server,
    port: server.port,
    [Symbol.asyncDispose]: () => server.close(),
  };
}

const SCRIPT = fileURLToPath(import.meta.resolve("./servers/app.ts"));

/** What the process of an application is started with. */
export interface AppProcessOptions {
  readonly kv: string;
  readonly port?: number;
  readonly server?: Omit<ServerOptions, "kv" | "pages">;
  readonly listen?: Omit<ListenOptions, "port" | "host">;
  /** File that the function "effect" appends a line to, each time that it runs. */
  readonly effects?: string;
}

/** A process that serves the application, and its port. */
export interface AppProcess extends AsyncDisposable {
  readonly process: FreshProcess;
  readonly port: number;
}

/** Starts the application in a process of its own. */
export async function startAppProcess(
  options: AppProcessOptions,
): Promise<AppProcess> {
  const process = freshProcess([SCRIPT], {
    APP_OPTIONS: JSON.stringify(options),
  });
  try {
    const [, port] = await process.line(/^listening (\d+)$/);
    return {
      process,
      port: Number(port),
      [Symbol.asyncDispose]: () => process[Symbol.asyncDispose](),
    };
  } catch (error) {
    await process[Symbol.asyncDispose]();
    throw error;
  }
}

/** A client that comes back quickly and needs no network. */
export function connectClient(
  port: number,
  options: ClientOptions = {},
): Client {
  return createClient(`ws://127.0.0.1:${port}`, {
    reconnectDelayMs: 10,
    reconnectMaxMs: 100,
    ...options,
  });
}

/** Sends a call. */
export function sendCall(
  client: RawClient,
  id: number,
  fields: Partial<CallFrame> & { name: string },
): void {
  client.send({ type: "rpc", id, oldest: id, elapsedMs: 0, ...fields });
}

/** Sends a call and waits for its answer. */
export async function rawCall(
  client: RawClient,
  id: number,
  fields: Partial<CallFrame> & { name: string },
): Promise<DownFrameOf<"res">> {
  sendCall(client, id, fields);
  for (;;) {
    const frame = await client.next("res");
    if (frame.id === id) return frame;
  }
}

/** The value of a call that must succeed. */
export async function callValue(
  client: RawClient,
  id: number,
  name: string,
  args?: Json,
): Promise<unknown> {
  const { value, error } = await rawCall(client, id, {
    name,
    ...(args !== undefined && { args }),
  });
  if (error) {
    throw new Error(
      `Call ${id} of "${name}" failed: ${error.code}: ${error.message}`,
    );
  }
  return value;
}

/** Subscribes; returns the first frame about the store, whatever it is. */
export async function rawSubscribe(
  client: RawClient,
  name: string,
  token?: ResumeToken,
): Promise<DownFrameOf<"snap" | "resume">> {
  client.send({ type: "sub", name, ...(token && { token }) });
  for (;;) {
    const frame = await client.nextFrame({
      expected: `the answer to sub "${name}"`,
    });
    if (frame.type === "err") {
      throw new Error(
        `Cannot subscribe: ${frame.error.code}: ${frame.error.message}`,
      );
    }
    if (frame.type === "snap" || frame.type === "resume") return frame;
  }
}

/** What proves to any server where a client stands. */
export function tokenOf({ epoch, version, writer }: ResumeToken): ResumeToken {
  return { epoch, version, writer };
}

/** The types of all frames that a client was sent, in order. */
export function typesOf(client: RawClient): string[] {
  return client.frames.map(({ type }) => type);
}
