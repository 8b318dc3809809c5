/**
 * A server under test in a process of its own, and what that process uses.
 *
 * @module
 */
import { fileURLToPath } from "node:url";

const CONFIG = fileURLToPath(import.meta.resolve("../../deno.json"));
/** Ticks a second in /proc; the same on every Linux that Deno runs on. */
const TICKS_PER_SECOND = 100;
const START_MS = 20_000;
const ANSWER_MS = 60_000;

/** CPU time of all threads of a process so far, in milliseconds; steps of 10. */
export function cpuMsOf(pid: number): number {
  const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
  // The name in brackets may hold anything; utime and stime are fields 14 and 15.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 1000 / TICKS_PER_SECOND;
}

/** See the module's documentation. */
export class BenchProcess implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #stdin: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  readonly #reading: Promise<void>;
  #next = 1;
  #ready: unknown;

  private constructor(child: Deno.ChildProcess) {
    this.#child = child;
    this.#stdin = child.stdin.getWriter();
    this.#reading = this.#read();
  }

  /** Runs a script of this folder; `options` is its first argument as JSON. */
  static async start(
    script: string,
    options: object,
    { flags = [], env = {} }: {
      flags?: readonly string[];
      env?: Readonly<Record<string, string>>;
    } = {},
  ): Promise<BenchProcess> {
    const path = fileURLToPath(import.meta.resolve(`./${script}`));
    return await BenchProcess.startProgram(Deno.execPath(), [
      "run",
      "-A",
      "--no-check",
      `--config=${CONFIG}`,
      ...flags,
      path,
      JSON.stringify(options),
    ], env);
  }

  /** Runs any program that takes commands as the scripts of this folder do. */
  static async startProgram(
    program: string,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): Promise<BenchProcess> {
    const child = new Deno.Command(program, {
      args: [...args],
      env,
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const process = new BenchProcess(child);
    try {
      process.#ready = await process.#answer(0, START_MS);
      return process;
    } catch (error) {
      await process[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** What the script said when it was ready. */
  get ready(): { readonly ports: readonly number[] } {
    return this.#ready as { ports: number[] }; // each script here answers so
  }

  /** The port of its only or first server. */
  get port(): number {
    return this.ready.ports[0] ?? 0;
  }

  /** Sends a command and waits for its answer. */
  async command<T = void>(name: string, args: object = {}): Promise<T> {
    const id = this.#next++;
    const answer = this.#answer(id, ANSWER_MS);
    await this.#stdin.write(
      new TextEncoder().encode(`${JSON.stringify({ id, name, args })}\n`),
    );
    return await answer as T; // the caller knows the script
  }

  /** CPU time of all its threads so far, in milliseconds; steps of 10. */
  cpuMs(): number {
    return cpuMsOf(this.#child.pid);
  }

  /** Memory in use, in bytes. */
  rssBytes(): number {
    const status = Deno.readTextFileSync(`/proc/${this.#child.pid}/status`);
    return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) * 1024;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stdin.close().catch(() => {});
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), 5_000);
    await this.#child.status;
    clearTimeout(timer);
    await this.#reading;
  }

  async #answer(id: number, ms: number): Promise<unknown> {
    const waiting = Promise.withResolvers<unknown>();
    this.#waiting.set(id, waiting);
    const timer = setTimeout(
      () => waiting.reject(new Error(`No answer ${id} within ${ms} ms`)),
      ms,
    );
    try {
      return await waiting.promise;
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(id);
    }
  }

  async #read(): Promise<void> {
    let rest = "";
    for await (
      const text of this.#child.stdout.pipeThrough(new TextDecoderStream())
    ) {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) this.#take(line);
    }
    for (const { reject } of this.#waiting.values()) {
      reject(new Error("The server under test has ended"));
    }
  }

  #take(line: string): void {
    const { id, result, error } = JSON.parse(line) as {
      id: number;
      result?: unknown;
      error?: string;
    };
    const waiting = this.#waiting.get(id);
    if (error === undefined) waiting?.resolve(result);
    else waiting?.reject(new Error(error));
  }
}
