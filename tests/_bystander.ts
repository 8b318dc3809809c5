/**
 * A server that is attacked, and an honest client of it.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { Client, SubscriptionHandle } from "../client/mod.ts";
import type { Limits } from "../protocol/limits.ts";
import {
  type AppProcess,
  connectClient,
  type Entries,
  startAppProcess,
} from "./_app.ts";
import { tempKvPath, until } from "./_harness.ts";

/** Every transport that `listen()` knows. */
export const TRANSPORTS = ["native", "hardened"] as const;
/** One of {@linkcode TRANSPORTS}. */
export type TransportName = typeof TRANSPORTS[number];

/** What the server is started with. */
export interface BystanderOptions {
  readonly transport: TransportName;
  readonly limits?: Partial<Limits>;
  readonly heartbeatMs?: number;
}

/** A server in a process of its own, and a real client that must go on undisturbed. */
export class Bystander implements AsyncDisposable {
  /** The server. */
  readonly app: AppProcess;
  readonly #client: Client;
  readonly #entries: SubscriptionHandle<Entries>;
  readonly #stack: AsyncDisposableStack;
  readonly #disconnects: number[] = [];
  #calls = 0;

  private constructor(app: AppProcess, stack: AsyncDisposableStack) {
    this.app = app;
    this.#stack = stack;
    this.#client = stack.use(connectClient(app.port));
    this.#client.on(
      "disconnected",
      ({ code }) => void this.#disconnects.push(code),
    );
    this.#entries = this.#client.subscribe<Entries>("Entries");
  }

  /** Starts the server, and connects the client. */
  static async start(options: BystanderOptions): Promise<Bystander> {
    const { transport, limits = {}, heartbeatMs = 30_000 } = options;
    const stack = new AsyncDisposableStack();
    const kv = stack.use(await tempKvPath());
    const app = stack.use(
      await startAppProcess({
        kv: kv.path,
        server: { limits },
        listen: { heartbeatMs, transport },
      }),
    );
    const bystander = new Bystander(app, stack);
    await bystander.#entries.ready();
    return bystander;
  }

  /** The server's memory, in MB. */
  async memoryMb(): Promise<number> {
    return Number(await this.#client.call("memory")) / 1e6;
  }

  /** The client is served, and always was. */
  async isServed(after: string): Promise<void> {
    const label = `${++this.#calls} ${after}`;
    await this.#client.call("entries.add", { label });
    assert.equal(this.#entries.getState()?.items.at(-1), label);
    assert.deepEqual(this.#disconnects, [], after);
  }

  /** The client is served, all others have gone, and no error was written. */
  async check(after: string): Promise<void> {
    await this.isServed(after);
    await this.untilAlone();
    assert.equal(
      this.app.process.output.trim(),
      `listening ${this.app.port}`,
      after,
    );
  }

  /** The server's registries hold nothing but the client. */
  async untilAlone(): Promise<void> {
    let health: Record<string, unknown> = {};
    await until(async () => {
      health = await (await fetch(
        `http://127.0.0.1:${this.app.port}/api/v1/health`,
      )).json();
      const { status, connections, addresses, subscriptions, slow } = health;
      return status === "ok" && connections === 1 && addresses === 1 &&
        subscriptions === 1 && slow === 0;
    }, { describe: () => JSON.stringify(health) });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
