/**
 * `deno serve --parallel` under test, in a process of its own.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { cpuMsOf } from "./bench_process.ts";
import { sleep } from "./statistics.ts";

const pathOf = (name: string) => fileURLToPath(import.meta.resolve(name));
const START_MS = 20_000;

/** See the module's documentation. */
export class ParallelProcess implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  #output = "";

  private constructor(child: Deno.ChildProcess) {
    this.#child = child;
  }

  /** Starts so many isolates over a KV file, and waits until they listen. */
  static async start(
    { kv, isolates, flags }: {
      readonly kv: string;
      readonly isolates: number;
      readonly flags: readonly string[];
    },
  ): Promise<ParallelProcess> {
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        ...["serve", "-A", "--no-check", "--parallel", ...flags],
        ...[`--config=${pathOf("../../deno.json")}`, "--host=127.0.0.1"],
        ...["--port=0", pathOf("./parallel_server.ts")],
      ],
      env: { BENCH_KV: kv, DENO_JOBS: `${isolates}`, NO_COLOR: "1" },
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const process = new ParallelProcess(child);
    void process.#read();
    try {
      const deadline = performance.now() + START_MS;
      while (!(process.port > 0)) {
        if (performance.now() > deadline) throw new Error(process.#output);
        await sleep(10);
      }
      return process;
    } catch (error) {
      await process[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The port of all isolates; NaN before they listen. */
  get port(): number {
    return Number(/http:\/\/127\.0\.0\.1:(\d+)/.exec(this.#output)?.[1]);
  }

  /** CPU time of all isolates so far, in milliseconds; steps of 10. */
  cpuMs(): number {
    return cpuMsOf(this.#child.pid);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGTERM");
    await this.#child.status;
  }

  async #read(): Promise<void> {
    const { stderr } = this.#child;
    for await (const text of stderr.pipeThrough(new TextDecoderStream())) {
      this.#output += text;
    }
  }
}
