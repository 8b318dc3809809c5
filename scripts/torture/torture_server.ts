/**
 * A server process, as the driver holds it.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { encodeOrder, KILL_AT, type KillOrder } from "./points.ts";
import type { ServerProcessOptions } from "./server_process.ts";

const CONFIG = fileURLToPath(import.meta.resolve("../../deno.json"));
const SCRIPT = fileURLToPath(import.meta.resolve("./server_process.ts"));

/** An update that the server made by itself, and saw committed. */
export interface Tick {
  readonly label: string;
  readonly value: number;
  readonly version: number;
}

/** What a server process is started with. */
export interface TortureServerOptions extends ServerProcessOptions {
  readonly order?: KillOrder;
}

/** See the module's documentation. */
export class TortureServer implements AsyncDisposable {
  /** When it was started, by the driver's monotonic clock. */
  readonly startedAtMs = performance.now();
  readonly options: TortureServerOptions;
  /** Own updates that it said were committed. */
  readonly ticks: Tick[] = [];
  /** Labels of own updates that failed. */
  readonly unknown: string[] = [];
  /** Resolves when it has ended and all that it said was read. */
  readonly exited: Promise<void>;
  /** Resolves with true when it listens, with false when it has ended before. */
  readonly ready: Promise<boolean>;
  /** The port while it listens. */
  port: number | undefined;
  /** The point where it ended itself, as it said. */
  killedAt: string | undefined;
  readonly #child: Deno.ChildProcess;
  #ready: (isReady: boolean) => void = () => {};
  #errors = "";

  /** Starts the process. */
  constructor(options: TortureServerOptions) {
    const { order, ...rest } = options;
    this.options = options;
    this.ready = new Promise((resolve) => this.#ready = resolve);
    this.#child = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "-A",
        "--no-check",
        `--config=${CONFIG}`,
        SCRIPT,
        JSON.stringify(rest),
      ],
      env: {
        NO_COLOR: "1",
        ...(order && { [KILL_AT]: encodeOrder(order) }),
      },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const lines = [this.#readLines(), this.#readErrors()];
    this.exited = Promise.all([this.#child.status, ...lines]).then(() => {
      this.port = undefined;
      this.#ready(false);
    });
  }

  /** How many own updates it has an outcome of; it may have been at the next. */
  get tried(): number {
    return this.ticks.length + this.unknown.length;
  }

  /** What it wrote to standard error. */
  get errors(): string {
    return this.#errors;
  }

  /** Ends it as `kill -9` does. */
  async kill(): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It was quicker.
    }
    this.port = undefined;
    await this.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await this.#child.stdin.close().catch(() => {});
  }

  async #readLines(): Promise<void> {
    let rest = "";
    for await (
      const text of this.#child.stdout.pipeThrough(new TextDecoderStream())
    ) {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) this.#take(line);
    }
  }

  #take(line: string): void {
    const [word, first = "", value, version] = line.split(" ");
    if (word === "listening") {
      this.port = Number(first);
      this.#ready(true);
    } else if (word === "killed") {
      this.port = undefined;
      this.killedAt = first;
    } else if (word === "unknown") {
      this.unknown.push(first);
    } else if (word === "tick") {
      this.ticks.push({
        label: first,
        value: Number(value),
        version: Number(version),
      });
    }
  }

  async #readErrors(): Promise<void> {
    const text = this.#child.stderr.pipeThrough(new TextDecoderStream());
    // The first of them is the cause; a flood would only fill the memory.
    for await (const part of text) {
      if (this.#errors.length < 20_000) this.#errors += part;
    }
  }
}
