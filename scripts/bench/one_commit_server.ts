/**
 * The server that group commit is compared with: the same frames and the same
 * fan-out, but each mutation is committed by an atomic of its own, and the next
 * one to the same store waits for it. Mutations of different stores do not wait
 * for each other. It keeps less than Headwater does: one record with the
 * version, and one with the patch.
 *
 * @module
 */
import { decodeUp, encodeFrame, encodeJson } from "../../protocol/codec.ts";
import { runRecipe } from "../../protocol/draft.ts";
import {
  type CallFrame,
  PROTOCOL_VERSION,
  SUBPROTOCOL,
} from "../../protocol/frames.ts";
import { DEFAULT_LIMITS } from "../../protocol/limits.ts";
import { encodePatch } from "../../protocol/patch_codec.ts";
import type { Json } from "../../protocol/value.ts";
import { takeCommands } from "./control.ts";
import { type Grid, makeGrid } from "./states.ts";

/** Options of the script. */
export interface OneCommitServer {
  /** Path of the KV file. */
  readonly kv: string;
}

const IDS = { epoch: "0123456789abcdef", writer: "0123456789abcdef" };

class OneCommitStore {
  readonly name: string;
  readonly #number: number;
  readonly #kv: Deno.Kv;
  readonly #sockets = new Set<WebSocket>();
  #state: Json = makeGrid(50, 32) as unknown as Json; // an interface has no index signature
  #version = 0;
  #stamp: string | null = null;
  #last: Promise<void> = Promise.resolve();

  constructor(kv: Deno.Kv, name: string, number: number) {
    this.#kv = kv;
    this.name = name;
    this.#number = number;
  }

  subscribe(socket: WebSocket): void {
    const { name } = this;
    const ids = { store: this.#number, name, version: this.#version, ...IDS };
    socket.send(encodeFrame({ type: "snap", ...ids, state: this.#state }));
    this.#sockets.add(socket);
  }

  forget(socket: WebSocket): void {
    this.#sockets.delete(socket);
  }

  /** Resolves once the change is committed and sent. */
  set(row: number, column: number, n: number): Promise<void> {
    return this.#last = this.#last.then(() => this.#set(row, column, n));
  }

  async #set(row: number, column: number, n: number): Promise<void> {
    const { state, patch } = runRecipe(
      this.#state as unknown as Grid,
      (draft) => {
        draft.cells[row]![column] = n;
      },
    );
    const version = this.#version + 1;
    const head = ["head", this.name];
    const result = await this.#kv.atomic()
      .check({ key: head, versionstamp: this.#stamp })
      .set(head, encodeJson({ v: version }))
      .set(["log", this.name, version], encodeJson(encodePatch(patch)))
      .commit();
    if (!result.ok) throw new Error(`Someone else wrote to ${this.name}`);
    this.#stamp = result.versionstamp;
    this.#state = state;
    this.#version = version;
    const frame = encodeFrame({
      type: "patch",
      store: this.#number,
      from: version - 1,
      version,
      patch,
    });
    for (const socket of this.#sockets) socket.send(frame);
  }
}

const options = JSON.parse(Deno.args[0] ?? "{}") as OneCommitServer;
const kv = await Deno.openKv(options.kv);
const stores = new Map<string, OneCommitStore>();

function storeOf(name: string): OneCommitStore {
  const store = stores.get(name) ??
    new OneCommitStore(kv, name, stores.size + 1);
  stores.set(name, store);
  return store;
}

function welcome(socket: WebSocket): void {
  socket.send(encodeFrame({
    type: "welcome",
    protocol: PROTOCOL_VERSION,
    clientId: "client",
    session: "session",
    resumed: false,
    sessionMs: DEFAULT_LIMITS.sessionMs,
    heartbeatMs: 0,
    messageBytes: DEFAULT_LIMITS.messageBytes,
    serverId: "server",
  }));
}

async function call(
  socket: WebSocket,
  { id, name, args }: CallFrame,
): Promise<void> {
  const [row, column, n] = args as [number, number, number]; // what the bench sends
  await storeOf(name === "set" ? "Grid" : `Grid:${row}`).set(row, column, n);
  if (socket.readyState === WebSocket.OPEN) {
    socket.send(encodeFrame({ type: "res", id }));
  }
}

function receive(socket: WebSocket, data: ArrayBuffer): void {
  for (const frame of decodeUp(new Uint8Array(data), DEFAULT_LIMITS)) {
    if (frame.type === "hello") welcome(socket);
    else if (frame.type === "sub") storeOf(frame.name).subscribe(socket);
    else if (frame.type === "rpc") void call(socket, frame);
  }
}

const server = Deno.serve(
  { hostname: "127.0.0.1", port: 0, onListen() {} },
  (request) => {
    const { socket, response } = Deno.upgradeWebSocket(request, {
      idleTimeout: 0,
      protocol: SUBPROTOCOL,
    });
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }: MessageEvent<ArrayBuffer>) =>
      receive(socket, data);
    socket.onclose = socket.onerror = () => {
      for (const store of stores.values()) store.forget(socket);
    };
    return response;
  },
);
await takeCommands({}, { ports: [server.addr.port] });
// Sockets that are still open, and the KV, would keep it alive.
Deno.exit(0);
