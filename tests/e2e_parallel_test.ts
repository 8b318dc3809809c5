/** Four isolates of `deno serve --parallel` over one KV file, and 200 clients. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { RawClient, tempKvPath, until, within } from "./_harness.ts";
import { Crowd } from "./_crowd.ts";

const SCRIPT = fileURLToPath(import.meta.resolve("./servers/parallel.ts"));
const CONFIG = fileURLToPath(import.meta.resolve("../deno.json"));
const ISOLATES = 4;
const START_MS = 30_000;

/** `deno serve --parallel`, which can be killed and started again on its port. */
class ParallelApp implements AsyncDisposable {
  readonly #kv: string;
  #child: Deno.ChildProcess | undefined;
  #reading: Promise<void> = Promise.resolve();
  #output = "";
  #port = 0;

  private constructor(kv: string) {
    this.#kv = kv;
  }

  static async start(kv: string): Promise<ParallelApp> {
    const app = new ParallelApp(kv);
    await app.restart();
    return app;
  }

  get port(): number {
    return this.#port;
  }

  get output(): string {
    return this.#output;
  }

  async restart(): Promise<void> {
    this.#output = "";
    const args = ["serve", "-A", "--no-check", "--parallel"];
    args.push("--host=127.0.0.1", `--port=${this.#port}`);
    this.#child = new Deno.Command(Deno.execPath(), {
      args: [...args, `--config=${CONFIG}`, SCRIPT],
      env: { APP_KV: this.#kv, DENO_JOBS: `${ISOLATES}`, NO_COLOR: "1" },
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    this.#reading = this.#read(this.#child.stderr);
    const [, port] = await until(
      () => /http:\/\/127\.0\.0\.1:(\d+)/.exec(this.#output),
      { ms: START_MS, describe: () => this.#output },
    );
    this.#port = Number(port);
  }

  /** Waits until all isolates answer: the first may listen before the others do. */
  async allThere(): Promise<void> {
    const ids = new Set<string>();
    await until(async () => {
      const found = await Promise.all(Array.from({ length: 20 }, async () => {
        await using client = await RawClient.connect(this.#port);
        return (await client.hello()).serverId;
      }));
      for (const id of found) ids.add(id);
      return ids.size === ISOLATES;
    }, { ms: START_MS, describe: () => `${ids.size} isolates answer` });
  }

  async end(signal: Deno.Signal): Promise<Deno.CommandStatus> {
    this.#child?.kill(signal);
    const status = await within(this.#child!.status, { // start() has set it
      ms: START_MS,
      describe: () => `the end by ${signal}\n${this.#output}`,
    });
    await this.#reading;
    return status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child?.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.#child?.status;
    await this.#reading;
  }

  async #read(stderr: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    for await (const text of stderr.pipeThrough(new TextDecoderStream())) {
      this.#output += text;
    }
  }
}

Deno.test("4 isolates of deno serve --parallel and 200 clients: all are killed, all converge in one order, nothing acknowledged is lost or doubled", async () => {
  await using kv = await tempKvPath();
  await using app = await ParallelApp.start(kv.path);
  await app.allThere();
  await using crowd = await Crowd.connect({
    clients: 200,
    ports: [app.port],
    rooms: 12,
  });
  await crowd.write(2);
  for (let kill = 0; kill < 2; kill++) {
    await crowd.write(3, async () => {
      await app.end("SIGKILL");
      await app.restart();
    });
  }
  await crowd.write(1);
  await crowd.assertTogether();
  assert.equal(crowd.acknowledged, 200 * 9);
  await app.allThere();
  assert.doesNotMatch(app.output, /error|panic/i);
  assert.equal((await app.end("SIGTERM")).code, 0);
});
