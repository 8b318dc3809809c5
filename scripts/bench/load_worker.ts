/**
 * One thread of the load.
 *
 * @module
 */
import { LoadClient } from "./load_client.ts";
import type {
  LoadCommands,
  LoadRequest,
  LoadResponse,
  LoadStart,
  Totals,
} from "./load_commands.ts";
import { sleep, sum } from "./statistics.ts";

/** How long answers may take once no more calls are made. */
const ANSWER_MS = 20_000;

type Handlers = {
  [Name in keyof LoadCommands]: (
    args: LoadCommands[Name]["args"],
  ) => LoadCommands[Name]["result"] | Promise<LoadCommands[Name]["result"]>;
};

class LoadThread implements Handlers {
  #clients: LoadClient[] = [];

  get messages(): number {
    let total = 0;
    for (const { connection } of this.#clients) total += connection.messages;
    return total;
  }

  async connect(
    { clients, lanes = 20, store, ...options }: LoadCommands["connect"]["args"],
  ) {
    const joined: LoadCommands["connect"]["result"] = [];
    const left = [...clients];
    const lane = async () => {
      for (
        let client = left.shift();
        client !== undefined;
        client = left.shift()
      ) {
        const name = store.replace("*", String(client));
        const result = await LoadClient.join({
          ...options,
          client,
          store: name,
        });
        this.#clients.push(result.client);
        joined.push(result.joined);
      }
    };
    await Promise.all(Array.from({ length: lanes }, lane));
    return joined;
  }

  totals(): Totals {
    return {
      messages: this.messages,
      bytes: sum(this.#clients.map(({ connection }) => connection.bytes)),
      versions: sum(this.#clients.map(({ versions }) => versions)),
      answers: sum(this.#clients.map(({ answers }) => answers)),
      errors: sum(this.#clients.map(({ errors }) => errors)),
      lost: this.#clients.filter(({ connection }) => connection.isOver).length,
    };
  }

  async call({ name, depth, ms }: LoadCommands["call"]["args"]) {
    for (const client of this.#clients) client.startCalls(name, depth);
    await sleep(ms);
    const latencies = Float64Array.from(
      this.#clients.flatMap((client) => client.stopCalls()),
    );
    const deadline = performance.now() + ANSWER_MS;
    const unanswered = () =>
      sum(this.#clients.map((client) => client.unanswered));
    while (unanswered() > 0 && performance.now() < deadline) await sleep(5);
    return { latencies, unanswered: unanswered() };
  }

  pause({ client }: { client: number }): void {
    this.#find(client).connection.pause();
  }

  resume({ client }: { client: number }): void {
    this.#find(client).connection.resume();
  }

  replica({ client }: { client: number }) {
    return this.#find(client).replica;
  }

  close(): void {
    for (const { connection } of this.#clients) connection.close();
    this.#clients = [];
  }

  #find(client: number): LoadClient {
    const found = this.#clients.find((each) => each.client === client);
    if (!found) throw new TypeError(`No client ${client} in this thread`);
    return found;
  }
}

const thread = new LoadThread();

async function answer({ id, name, args }: LoadRequest): Promise<LoadResponse> {
  try {
    // The name says which arguments they are.
    const handler = thread[name].bind(thread) as (args: unknown) => unknown;
    return { id, result: await handler(args) };
  } catch (error) {
    return {
      id,
      error: error instanceof Error
        ? `${error.message}\n${error.stack}`
        : String(error),
    };
  }
}

self.onmessage = ({ data }: MessageEvent<LoadStart>) => {
  const counters = new Float64Array(data.counters);
  setInterval(() => counters[data.thread] = thread.messages, 1);
  self.onmessage = ({ data }: MessageEvent<LoadRequest>) => {
    void answer(data).then((response) => self.postMessage(response));
  };
};
