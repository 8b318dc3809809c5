/**
 * The channel between the bench and a server under test: one command a line on
 * standard input, one answer a line on standard output.
 *
 * @module
 */
import { writeSync } from "node:fs";
import process from "node:process";
import { setImmediate } from "node:timers";

/** What a server under test can be told to do, by name. */
export type Commands = Readonly<
  Record<string, (args: Record<string, unknown>) => unknown>
>;

/** Takes commands until standard input ends; the first line out says `ready`. */
export async function takeCommands(
  commands: Commands,
  ready: object,
): Promise<void> {
  write({ id: 0, result: ready });
  let rest = "";
  process.stdin.setEncoding("utf8");
  for await (const text of process.stdin) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) void run(commands, line);
  }
}

async function run(commands: Commands, line: string): Promise<void> {
  const { id, name, args } = JSON.parse(line) as {
    id: number;
    name: string;
    args: Record<string, unknown>;
  };
  try {
    const command = commands[name];
    if (!command) throw new TypeError(`No command "${name}"`);
    write({ id, result: await command(args) ?? null });
  } catch (error) {
    write({
      id,
      error: error instanceof Error ? error.message : String(error),
    });
  }
}

function write(answer: object): void {
  const bytes = new TextEncoder().encode(`${JSON.stringify(answer)}\n`);
  for (let at = 0; at < bytes.length;) {
    at += writeSync(process.stdout.fd, bytes.subarray(at));
  }
}

/** Runs what the bench has granted, one after the other. */
export class Pump {
  readonly #step: () => void | Promise<void>;
  #credits = 0;
  #isRunning = false;

  /** A pump that waits for its first grant. */
  constructor(step: () => void | Promise<void>) {
    this.#step = step;
  }

  /** Lets `step` run that many times more. */
  grant(count: number): void {
    this.#credits += count;
    if (this.#isRunning) return;
    this.#isRunning = true;
    void this.#run().finally(() => this.#isRunning = false);
  }

  async #run(): Promise<void> {
    while (this.#credits > 0) {
      this.#credits--;
      await this.#step();
      // A step that waits for nothing must not keep the sockets from their turn.
      await new Promise<void>((resolve) => void setImmediate(resolve));
    }
  }
}
