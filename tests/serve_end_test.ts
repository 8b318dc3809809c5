/** The end of servers by a signal, in each way to run one; real processes, sockets and KV files. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import type { Counter } from "../adapters/start_app.ts";
import { type Client, createClient } from "../client/mod.ts";
import { DenoServe } from "./_deno_serve.ts";
import {
  type FreshProcess,
  freshProcess,
  RawClient,
  tempKvPath,
  until,
  within,
} from "./_harness.ts";

const pathOf = (name: string) => fileURLToPath(import.meta.resolve(name));
const SERVE = pathOf("../adapters/serve.ts");
const CLI = pathOf("../server/mod.ts");
const ENDINGS = pathOf("./servers/endings.ts");
const DEPLOY = pathOf("./servers/deploy.ts");

const CLIENTS = 12;
const SETTLE_MS = 30_000;
/** What Deno Deploy gives an isolate after its SIGINT. */
const DEPLOY_MS = 5_000;

/** A server that can be ended, and started again on its port. */
interface Running extends AsyncDisposable {
  readonly port: number;
  readonly output: string;
  end(signal: Deno.Signal): Promise<Deno.CommandStatus>;
  restart(): Promise<void>;
}

const WAYS: Readonly<Record<string, (kv: string) => Promise<Running>>> = {
  "deno run": (kv) => DenoRun.start(kv),
  "deno serve": (kv) =>
    DenoServe.start({ script: SERVE, env: { HEADWATER_KV: kv } }),
  "deno serve --parallel": (kv) =>
    DenoServe.start({ script: SERVE, env: { HEADWATER_KV: kv }, isolates: 3 }),
  "Deno Deploy's way": (kv) =>
    DenoServe.start({
      script: DEPLOY,
      env: { DENO_DEPLOYMENT_ID: "d1", DEPLOY_KV: kv },
    }),
};

for (const [way, start] of Object.entries(WAYS)) {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    if (way === "Deno Deploy's way" && signal === "SIGTERM") continue;
    Deno.test(`${way}: after ${signal} what was acknowledged is kept, clients are told and come back, and the process ends by itself`, async () => {
      await using kv = await tempKvPath();
      await using server = await start(kv.path);
      using crowd = await Counters.connect(server.port);
      await using quiet = await RawClient.connect(server.port);
      await quiet.hello();
      await crowd.counted(10 * CLIENTS);
      assertByItself(await server.end(signal), server.output);
      // Where a message comes in at the same time, Deno ends TCP without the close frame.
      assert.equal((await quiet.closed).code, 1001);
      await server.restart();
      const before = crowd.acknowledged;
      await crowd.counted(before + 10 * CLIENTS);
      await crowd.finish();
      assert.doesNotMatch(server.output, /error|panic/i);
    });
  }
}

Deno.test("deno serve: a call that runs when the signal comes is answered by the next server, and applies once", async () => {
  await using kv = await tempKvPath();
  await using server = await DenoServe.start({
    script: ENDINGS,
    env: { APP_KV: kv.path },
    isolates: 2,
  });
  using client = createClient(server.url, { rpcTimeoutMs: Infinity });
  const entries = client.subscribe<{ items: string[] }>("Entries");
  await entries.ready();
  const answer = client.call("slow", { label: "it" });
  await until(() => server.output.includes("it runs"), { ms: SETTLE_MS });
  assertByItself(await server.end("SIGTERM"), server.output);
  await server.restart();
  assert.equal(await answer, 1);
  assert.deepEqual(entries.getState(), { items: ["it"] });
});

Deno.test("Deno Deploy's way: a function that never ends does not keep the process for 5 seconds, and its client is told to come back", async () => {
  await using kv = await tempKvPath();
  await using server = await DenoServe.start({
    script: ENDINGS,
    env: { DENO_DEPLOYMENT_ID: "d1", DEPLOY_KV: kv.path },
  });
  await using client = await RawClient.connect(server.port);
  await client.hello();
  client.send({
    type: "rpc",
    id: 1,
    name: "endless",
    args: null,
    oldest: 1,
    elapsedMs: 0,
  });
  await until(() => server.output.includes("endless runs"), { ms: SETTLE_MS });
  const ended = server.end("SIGINT");
  const killing = setTimeout(() => server.signal("SIGKILL"), DEPLOY_MS);
  assertByItself(await ended, server.output);
  clearTimeout(killing);
  assert.equal((await client.closed).code, 1001);
});

Deno.test("endBySignal() ends a process whose close hangs", async () => {
  const script = `data:application/typescript,${
    encodeURIComponent(`
      import { endBySignal } from "${
      import.meta.resolve("../adapters/end_by_signal.ts")
    }";
      setInterval(() => {}, 1_000);
      endBySignal(() => new Promise(() => {}));
      console.log("ready");`)
  }`;
  await using process = freshProcess([script]);
  await process.line(/^ready$/);
  assertByItself(await process.kill("SIGTERM"), process.output);
});

function assertByItself(status: Deno.CommandStatus, output: string): void {
  const { code, signal } = status;
  assert.deepEqual({ code, signal }, { code: 0, signal: null }, output);
}

/** The command line's server. */
class DenoRun implements Running {
  readonly #kv: string;
  #process!: FreshProcess; // start() sets it
  #port = 0;

  private constructor(kv: string) {
    this.#kv = kv;
  }

  static async start(kv: string): Promise<DenoRun> {
    const server = new DenoRun(kv);
    await server.restart();
    return server;
  }

  get port(): number {
    return this.#port;
  }

  get output(): string {
    return this.#process.output;
  }

  async restart(): Promise<void> {
    this.#process = freshProcess([CLI], {
      PORT: `${this.#port}`,
      HOST: "127.0.0.1",
      HEADWATER_KV: this.#kv,
    });
    const [, port] = await this.#process.line(/http:\/\/127\.0\.0\.1:(\d+)/);
    this.#port = Number(port);
  }

  end(signal: Deno.Signal): Promise<Deno.CommandStatus> {
    return this.#process.kill(signal);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#process[Symbol.asyncDispose]();
  }
}

/** Clients that count up, one call after the other, whatever happens to the server. */
class Counters implements Disposable {
  readonly #clients: Client[];
  readonly #states: (() => Counter | undefined)[] = [];
  #isOver = false;
  #counting: Promise<void>[] = [];
  acknowledged = 0;

  private constructor(port: number) {
    this.#clients = Array.from(
      { length: CLIENTS },
      () =>
        createClient(`ws://127.0.0.1:${port}`, {
          reconnectDelayMs: 20,
          reconnectMaxMs: 200,
          rpcTimeoutMs: Infinity,
        }),
    );
  }

  static async connect(port: number): Promise<Counters> {
    const counters = new Counters(port);
    await Promise.all(counters.#clients.map(async (client) => {
      const counter = client.subscribe<Counter>("Counter");
      counters.#states.push(() => counter.getState());
      await within(counter.ready(), {
        ms: SETTLE_MS,
        describe: () => `a client has the counter: ${client.status}`,
      });
    }));
    counters.#counting = counters.#clients.map((client) =>
      counters.#count(client)
    );
    return counters;
  }

  async counted(total: number): Promise<void> {
    await until(() => this.acknowledged >= total, {
      ms: SETTLE_MS,
      describe: () => `${this.acknowledged} of ${total} calls answered`,
    });
  }

  /** Ends the counting: everybody sees every call once. */
  async finish(): Promise<void> {
    this.#isOver = true;
    await within(Promise.all(this.#counting), {
      ms: SETTLE_MS,
      describe: () => "the last answers",
    });
    const seen = () => this.#states.map((state) => state()?.count);
    const all = Array(CLIENTS).fill(this.acknowledged);
    await until(() => `${seen()}` === `${all}`, {
      ms: SETTLE_MS,
      describe: () =>
        `${this.acknowledged} answered, the clients see ${seen()}`,
    });
  }

  [Symbol.dispose](): void {
    this.#isOver = true;
    for (const client of this.#clients) client.destroy();
  }

  async #count(client: Client): Promise<void> {
    while (!this.#isOver) {
      try {
        await client.call("counter.add", { by: 1 });
        this.acknowledged++;
      } catch (error) {
        // Destroyed, since something else has failed.
        if (client.status !== "closed") throw error;
      }
    }
  }
}
