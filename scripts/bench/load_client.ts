/**
 * One client of the load.
 *
 * @module
 */
import { decodeDown, encodeFrame, joinFrames } from "../../protocol/codec.ts";
import {
  type DownFrame,
  PROTOCOL_VERSION,
  type ResumeToken,
} from "../../protocol/frames.ts";
import { PartJoiner } from "../../protocol/parts.ts";
import { applyPatch } from "../../protocol/patch.ts";
import type { Json } from "../../protocol/value.ts";
import { type WalkedFrame, walkFrames } from "./frame_walker.ts";
import type { Joined, Reading, ReplicaReport } from "./load_commands.ts";
import { LoadConnection } from "./load_connection.ts";
import { wallMs } from "./statistics.ts";

/** Field `t` of the frames that are looked at; a patch has none. */
const PATCH = 0;
const PARTS = 40;
const SNAP = 33;
const RESUME = 34;
const RESULT = 35;
const ERROR = 38;
const READY_MS = 30_000;

/** What a client is made of. */
export interface LoadClientOptions {
  readonly port: number;
  /** Its number. */
  readonly client: number;
  readonly store: string;
  readonly reading: Reading;
  readonly token?: ResumeToken | undefined;
}

/** See the module's documentation. */
export class LoadClient {
  readonly client: number;
  readonly connection: LoadConnection;
  versions = 0;
  answers = 0;
  errors = 0;
  readonly #reading: Reading;
  readonly #arrivals: { version: number; ms: number }[] = [];
  readonly #pending = new Map<number, { cell: number; atMs: number }>();
  readonly #ready = Promise.withResolvers<void>();
  readonly #joiner = new PartJoiner();
  #version = 0;
  #state: Json = null;
  #token: ResumeToken | undefined;
  #nextCall = 1;
  #refill: ((cell: number) => void) | undefined;
  #calls: Uint8Array<ArrayBuffer>[] = [];
  #latencies: number[] = [];

  private constructor(
    connection: LoadConnection,
    { client, reading, token }: LoadClientOptions,
  ) {
    this.connection = connection;
    this.client = client;
    this.#reading = reading;
    this.#token = token;
  }

  /** Connects, subscribes and waits for the state. */
  static async join(
    options: LoadClientOptions,
  ): Promise<{ client: LoadClient; joined: Joined }> {
    const startMs = performance.now();
    const client = new LoadClient(
      await LoadConnection.open(options.port),
      options,
    );
    await client.#subscribe(options);
    return {
      client,
      joined: {
        bytes: client.connection.bytes,
        ms: performance.now() - startMs,
      },
    };
  }

  /** Begins `depth` calls, and another one for each that is answered until {@linkcode LoadClient.stopCalls}. */
  startCalls(name: string, depth: number): void {
    this.#latencies = [];
    this.#refill = (cell) => this.#call(name, cell);
    for (let cell = 0; cell < depth; cell++) this.#call(name, cell);
    this.#sendCalls();
  }

  /** Begins no more calls, and returns the latencies of those that were answered. */
  stopCalls(): number[] {
    this.#refill = undefined;
    return this.#latencies;
  }

  /** Calls without an answer. */
  get unanswered(): number {
    return this.#pending.size;
  }

  /** What the replica has. */
  get replica(): ReplicaReport {
    if (!this.#token) throw new TypeError(`Client ${this.client} has no state`);
    return { token: this.#token, state: this.#state, arrivals: this.#arrivals };
  }

  async #subscribe({ store, token }: LoadClientOptions): Promise<void> {
    const { connection } = this;
    const timer = setTimeout(
      () =>
        this.#ready.reject(new Error(`No "${store}" within ${READY_MS} ms`)),
      READY_MS,
    );
    connection.onMessage = (payload) => this.#receive(payload);
    connection.onRead = () => this.#sendCalls();
    connection.send(joinFrames([
      encodeFrame({ type: "hello", protocol: PROTOCOL_VERSION, parts: true }),
      encodeFrame({ type: "sub", name: store, ...(token && { token }) }),
    ]));
    await this.#ready.promise.finally(() => clearTimeout(timer));
  }

  #receive(part: Uint8Array): void {
    const payload = this.#joiner.isExpecting ? this.#joiner.take(part) : part;
    if (!payload) return;
    walkFrames(payload, (frame) => this.#take(frame, payload));
    if (this.#reading === "replica") {
      for (const frame of decodeDown(payload)) this.#apply(frame);
    }
  }

  #take(
    { type, version, from, call, hasE }: WalkedFrame,
    payload: Uint8Array,
  ): void {
    switch (type) {
      case PATCH: {
        const begin = from < 0 ? version - 1 : from;
        if (begin !== this.#version) {
          throw new Error(`A patch from ${begin} at ${this.#version}`);
        }
        this.versions += version - begin;
        this.#version = version;
        break;
      }
      case RESULT:
        this.#answered(call, hasE);
        break;
      case PARTS:
        for (const frame of decodeDown(payload)) {
          if (frame.type === "parts") this.#joiner.expect(frame.bytes);
        }
        break;
      case SNAP:
      case RESUME:
        this.#version = version;
        if (this.#reading === "count") this.connection.onMessage = undefined;
        this.#ready.resolve();
        break;
      case ERROR:
        this.#ready.reject(new Error(JSON.stringify(decodeDown(payload))));
    }
  }

  #apply(frame: DownFrame): void {
    switch (frame.type) {
      case "snap":
        this.#state = frame.state;
        this.#token = {
          epoch: frame.epoch,
          version: frame.version,
          writer: frame.writer,
        };
        break;
      case "resume":
        this.#token = {
          epoch: frame.epoch,
          version: frame.version,
          writer: frame.writer,
        };
        break;
      case "patch": {
        const token = this.#token;
        if (token?.version !== frame.from) {
          throw new Error(`A patch from ${frame.from} at ${token?.version}`);
        }
        this.#state = applyPatch(this.#state, frame.patch);
        this.#token = {
          ...token,
          version: frame.version,
          writer: frame.writer ?? token.writer,
        };
        this.#arrivals.push({ version: frame.version, ms: wallMs() });
      }
    }
  }

  #call(name: string, cell: number): void {
    const id = this.#nextCall++;
    this.#pending.set(id, { cell, atMs: performance.now() });
    const [oldest = id] = this.#pending.keys();
    this.#calls.push(
      encodeFrame({
        type: "rpc",
        id,
        name,
        args: [this.client, cell, id],
        oldest,
        elapsedMs: 0,
      }),
    );
  }

  #answered(id: number, isError: boolean): void {
    const pending = this.#pending.get(id);
    if (!pending) {
      throw new Error(`An answer to call ${id}, which waits for none`);
    }
    this.#pending.delete(id);
    this.answers++;
    if (isError) this.errors++;
    this.#latencies.push(performance.now() - pending.atMs);
    this.#refill?.(pending.cell);
  }

  /** As one message, as the client of Headwater does with the calls of one tick. */
  #sendCalls(): void {
    if (this.#calls.length === 0) return;
    const calls = this.#calls;
    this.#calls = [];
    this.connection.send(joinFrames(calls));
  }
}
