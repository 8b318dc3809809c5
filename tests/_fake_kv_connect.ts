/**
 * A far end of KV Connect that keeps nothing: it hands tokens out, decodes what it
 * is asked, and answers when and how a test wants it.
 *
 * @module
 */
import { decodeKey } from "../adapters/kv_connect/keys.ts";
import {
  MessageReader,
  MessageWriter,
} from "../adapters/kv_connect/protobuf.ts";
import type { KvKey } from "../server/ports.ts";

/** A write as it came. */
export interface ReceivedSet {
  readonly key: KvKey;
  readonly bytes: Uint8Array;
  /** 0: it does not expire. */
  readonly expireAtMs: number;
}

/** See the module's documentation. */
export class FakeKvConnect implements AsyncDisposable {
  /** How long a token is good for, as it is said to who gets it. */
  tokenMs = 3_600_000;
  /** How often it was asked for what, refusals apart. */
  readonly asked = { tokens: 0, reads: 0, writes: 0, watches: 0 };
  /** All that was to be set. */
  readonly sets: ReceivedSet[] = [];
  /** Awaited before a read is answered. */
  beforeRead: () => Promise<void> = () => Promise.resolve();
  /** Reads that have come and are not answered yet, now and at most. */
  readonly reading = { now: 0, most: 0 };
  readonly #watchers: ReadableStreamDefaultController<Uint8Array>[] = [];
  #refusal: { status: number; below: number } | undefined;
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  /** Listens. */
  constructor() {
    this.#server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen() {} },
      (request) => this.#answer(request),
    );
  }

  /** Where it is. */
  get url(): string {
    return `http://127.0.0.1:${this.#server.addr.port}`;
  }

  /** From now on the tokens that were given are refused. */
  revoke(status: 401 | 403): void {
    this.#refusal = { status, below: this.asked.tokens };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const watcher of this.#watchers) {
      try {
        watcher.close();
      } catch {
        // Who watched has gone.
      }
    }
    await this.#server.shutdown();
  }

  async #answer(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    const body = new MessageReader(
      pathname === "/" ? new Uint8Array() : await request.bytes(),
    );
    if (pathname === "/") return this.#giveToken();
    const token = Number(request.headers.get("authorization")?.split("-")[1]);
    if (this.#refusal && token <= this.#refusal.below) {
      return new Response("Invalid token", { status: this.#refusal.status });
    }
    switch (pathname) {
      case "/data/snapshot_read":
        return await this.#read(body);
      case "/data/atomic_write":
        return this.#write(body);
      case "/data/watch":
        return this.#watch();
      default:
        return new Response(null, { status: 404 });
    }
  }

  #giveToken(): Response {
    const token = `token-${++this.asked.tokens}`;
    return Response.json({
      version: 3,
      databaseId: "11111111-2222-3333-4444-555555555555",
      endpoints: [{ url: "/data", consistency: "strong" }],
      token,
      expiresAt: new Date(Date.now() + this.tokenMs).toISOString(),
    });
  }

  async #read(body: MessageReader): Promise<Response> {
    this.asked.reads++;
    this.reading.most = Math.max(this.reading.most, ++this.reading.now);
    await this.beforeRead();
    this.reading.now--;
    const answer = new MessageWriter();
    for (const _ of body.messages(1)) answer.message(1, new MessageWriter());
    return new Response(answer.number(4, 1).finish());
  }

  #write(body: MessageReader): Response {
    this.asked.writes++;
    for (const mutation of body.messages(2)) {
      const [value] = mutation.messages(2);
      this.sets.push({
        key: decodeKey(mutation.bytes(1)),
        bytes: value?.bytes(1).slice() ?? new Uint8Array(),
        expireAtMs: mutation.number(4),
      });
    }
    const stamp = new Uint8Array(10).fill(1);
    return new Response(
      new MessageWriter().number(1, 1).bytes(2, stamp).finish(),
    );
  }

  /** Tells that the key is absent, and then nothing more: not even that it lives. */
  #watch(): Response {
    this.asked.watches++;
    const event = new MessageWriter()
      .message(2, new MessageWriter().number(1, 1)).finish();
    const head = new Uint8Array(4);
    new DataView(head.buffer).setUint32(0, event.length, true);
    return new Response(
      new ReadableStream<Uint8Array<ArrayBuffer>>({
        start: (controller) => {
          this.#watchers.push(controller);
          controller.enqueue(head);
          controller.enqueue(event);
        },
      }),
    );
  }
}
