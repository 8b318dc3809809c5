/**
 * A process of `deno serve`, which can be ended and started again on its port.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { RawClient } from "./_raw_client.ts";
import { until, within } from "./_waiting.ts";

const CONFIG = fileURLToPath(import.meta.resolve("../deno.json"));
/** The machine may be busy with other things. */
const START_MS = 30_000;

/** What {@linkcode DenoServe.start} is to run. */
export interface DenoServeOptions {
  /** The module with the default export. */
  readonly script: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** With `--parallel`, and so many isolates. */
  readonly isolates?: number;
}

/** See the module's documentation. */
export class DenoServe implements AsyncDisposable {
  readonly #options: DenoServeOptions;
  #child: Deno.ChildProcess | undefined;
  #reading: Promise<void> = Promise.resolve();
  #output = "";
  #port = 0;

  private constructor(options: DenoServeOptions) {
    this.#options = options;
  }

  /** Starts it, and waits until it listens. */
  static async start(options: DenoServeOptions): Promise<DenoServe> {
    const serve = new DenoServe(options);
    try {
      await serve.restart();
      return serve;
    } catch (error) {
      await serve[Symbol.asyncDispose]();
      throw error;
    }
  }

  get port(): number {
    return this.#port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Both streams, from its last start on. */
  get output(): string {
    return this.#output;
  }

  /** Starts it again, once it has ended. */
  async restart(): Promise<void> {
    const { script, env = {}, cwd, isolates } = this.#options;
    this.#output = "";
    this.#child = new Deno.Command(Deno.execPath(), {
      args: [
        ...["serve", "-A", "--no-check", `--config=${CONFIG}`],
        ...(isolates === undefined ? [] : ["--parallel"]),
        ...["--host=127.0.0.1", `--port=${this.#port}`, script],
      ],
      ...(cwd !== undefined && { cwd }),
      env: { DENO_JOBS: `${isolates ?? 1}`, NO_COLOR: "1", ...env },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const { stdout, stderr } = this.#child;
    this.#reading = Promise.all([this.#read(stdout), this.#read(stderr)])
      .then(() => {});
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
      return ids.size === (this.#options.isolates ?? 1);
    }, { ms: START_MS, describe: () => `${ids.size} isolates answer` });
  }

  /** Sends a signal and does not wait. */
  signal(signal: Deno.Signal): void {
    try {
      this.#child?.kill(signal);
    } catch {
      // It has ended.
    }
  }

  /** Sends a signal, and returns how the process ended. */
  async end(signal: Deno.Signal): Promise<Deno.CommandStatus> {
    this.signal(signal);
    const status = await within(this.#child!.status, { // start() has set it
      ms: START_MS,
      describe: () => `the end by ${signal}\n${this.#output}`,
    });
    await this.#reading;
    return status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.signal("SIGKILL");
    await this.#child?.status;
    await this.#reading;
  }

  async #read(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    for await (const text of stream.pipeThrough(new TextDecoderStream())) {
      this.#output += text;
    }
  }
}
