/**
 * The load: clients in threads of this process.
 *
 * @module
 */
import type {
  LoadCommands,
  LoadRequest,
  LoadResponse,
  LoadStart,
  Totals,
} from "./load_commands.ts";
import { sum } from "./statistics.ts";

type Args<Name extends keyof LoadCommands> = LoadCommands[Name]["args"];
type Result<Name extends keyof LoadCommands> = LoadCommands[Name]["result"];

/** See the module's documentation. */
export class Load implements Disposable {
  readonly #threads: LoadThread[];
  readonly #counters: SharedArrayBuffer;

  /** A load without clients. */
  constructor(threads = 2) {
    this.#counters = new SharedArrayBuffer(
      threads * Float64Array.BYTES_PER_ELEMENT,
    );
    this.#threads = Array.from(
      { length: threads },
      (_, thread) => new LoadThread({ counters: this.#counters, thread }),
    );
  }

  /** Messages that all clients received; up to a millisecond old. */
  get messages(): number {
    return sum([...new Float64Array(this.#counters)]);
  }

  /** Connects that many clients, numbered from 0, spread over the threads. */
  async connect(
    count: number,
    options: Omit<Args<"connect">, "clients">,
  ): Promise<Result<"connect">> {
    const clients = Array.from({ length: count }, (_, client) => client);
    const joined = await Promise.all(
      this.#threads.map((thread, index) =>
        thread.run("connect", {
          ...options,
          clients: clients.filter((client) =>
            client % this.#threads.length === index
          ),
        })
      ),
    );
    return joined.flat();
  }

  /** Totals of all threads. */
  async totals(): Promise<Totals> {
    const all = await this.#all("totals", {});
    return {
      messages: sum(all.map(({ messages }) => messages)),
      bytes: sum(all.map(({ bytes }) => bytes)),
      versions: sum(all.map(({ versions }) => versions)),
      answers: sum(all.map(({ answers }) => answers)),
      errors: sum(all.map(({ errors }) => errors)),
      lost: sum(all.map(({ lost }) => lost)),
    };
  }

  /** Keeps calls in flight. */
  call(options: Args<"call">): Promise<Result<"call">[]> {
    return this.#all("call", options);
  }

  /** Does something with one client. */
  client<Name extends "pause" | "resume" | "replica">(
    name: Name,
    client: number,
  ): Promise<Result<Name>> {
    return this.#threads[client % this.#threads.length]!.run(name, { client });
  }

  /** Disconnects all clients. */
  async close(): Promise<void> {
    await this.#all("close", {});
  }

  [Symbol.dispose](): void {
    for (const thread of this.#threads) thread.terminate();
  }

  #all<Name extends keyof LoadCommands>(
    name: Name,
    args: Args<Name>,
  ): Promise<Result<Name>[]> {
    return Promise.all(this.#threads.map((thread) => thread.run(name, args)));
  }
}

class LoadThread {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #next = 1;

  constructor(start: LoadStart) {
    this.#worker = new Worker(import.meta.resolve("./load_worker.ts"), {
      type: "module",
    });
    this.#worker.onmessage = ({ data }: MessageEvent<LoadResponse>) => {
      const waiting = this.#waiting.get(data.id);
      this.#waiting.delete(data.id);
      if (data.error === undefined) waiting?.resolve(data.result);
      else waiting?.reject(new Error(data.error));
    };
    this.#worker.onerror = ({ message }) => {
      for (const { reject } of this.#waiting.values()) {
        reject(new Error(message));
      }
    };
    this.#worker.postMessage(start);
  }

  async run<Name extends keyof LoadCommands>(
    name: Name,
    args: Args<Name>,
  ): Promise<Result<Name>> {
    const request: LoadRequest = { id: this.#next++, name, args };
    const waiting = Promise.withResolvers<unknown>();
    this.#waiting.set(request.id, waiting);
    this.#worker.postMessage(request);
    return await waiting.promise as Result<Name>; // the thread answers by the same table
  }

  terminate(): void {
    this.#worker.terminate();
  }
}
