/**
 * A process of its own, for what must not come from memory.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { until, within } from "./_waiting.ts";

/** The settings of this project, also for a script that lies elsewhere. */
const CONFIG = fileURLToPath(import.meta.resolve("../deno.json"));

/** Starts `deno run -A` with these arguments (a script first), its output kept. */
export function freshProcess(
  args: string[],
  env: Record<string, string> = {},
): FreshProcess {
  return startProcess(Deno.execPath(), {
    args: ["run", "-A", "--no-check", `--config=${CONFIG}`, ...args],
    env,
  });
}

/** Starts any program, its output kept. */
export function startProcess(
  program: string,
  { env, ...options }: Pick<Deno.CommandOptions, "args" | "cwd" | "env">,
): FreshProcess {
  return new FreshProcess(
    new Deno.Command(program, {
      ...options,
      env: { NO_COLOR: "1", ...env },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }),
  );
}

/** A process that the test owns; killed at the end. */
export class FreshProcess implements AsyncDisposable {
  /** How it ended. */
  readonly exited: Promise<Deno.CommandStatus>;
  readonly #child: Deno.ChildProcess;
  readonly #reading: Promise<unknown>;
  readonly #lines: string[] = [];
  #errors = "";
  #cursor = 0;
  #isOver = false;

  /** Made by {@linkcode freshProcess} and {@linkcode startProcess}. */
  constructor(command: Deno.Command) {
    this.#child = command.spawn();
    this.exited = this.#child.status;
    this.#reading = Promise.all([this.#readLines(), this.#readErrors()]);
  }

  /** Its process id. */
  get pid(): number {
    return this.#child.pid;
  }

  /** What it wrote so far, both streams. */
  get output(): string {
    return `${this.#lines.join("\n")}\n${this.#errors}`;
  }

  /** What it wrote until its end. */
  async whole(): Promise<string> {
    await this.#reading;
    return this.output;
  }

  /** The next line of its standard output that matches; those before it are passed over. */
  line(match: RegExp, options: { ms?: number } = {}): Promise<RegExpExecArray> {
    const { ms = 20_000 } = options;
    return until(() => {
      for (; this.#cursor < this.#lines.length; this.#cursor++) {
        const found = match.exec(this.#lines[this.#cursor] ?? "");
        if (found) {
          this.#cursor += 1;
          return found;
        }
      }
      if (this.#isOver) {
        throw new Error(`Ended before a line ${match} came:\n${this.output}`);
      }
    }, { ms, describe: () => `a line ${match} in\n${this.output}` });
  }

  /** Sends a signal; SIGKILL by default. Returns how the process ended. */
  async kill(signal: Deno.Signal = "SIGKILL"): Promise<Deno.CommandStatus> {
    this.signal(signal);
    return await within(this.exited, {
      ms: 20_000,
      describe: () => `end by ${signal}:\n${this.output}`,
    });
  }

  /** Sends a signal and does not wait. */
  signal(signal: Deno.Signal): void {
    try {
      this.#child.kill(signal);
    } catch {
      // It has ended by itself.
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.signal("SIGKILL");
    await this.exited;
    await this.#reading;
  }

  async #readLines(): Promise<void> {
    let rest = "";
    for await (
      const text of this.#child.stdout.pipeThrough(new TextDecoderStream())
    ) {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      this.#lines.push(...lines);
    }
    if (rest) this.#lines.push(rest);
    this.#isOver = true;
  }

  async #readErrors(): Promise<void> {
    for await (
      const text of this.#child.stderr.pipeThrough(new TextDecoderStream())
    ) this.#errors += text;
  }
}
