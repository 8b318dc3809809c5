/**
 * A copy of the product and the simulator, in which a mistake can be planted.
 *
 * @module
 */
import type { Edit, Mutant } from "./mutants.ts";

/** What the simulator needs to run. */
const PARTS = [
  "deno.json",
  "deno.lock",
  "protocol",
  "server",
  "client",
  "adapters/ambient.ts",
  "adapters/testing",
  "tests/simulation",
];

/** What came of the search for a mistake. */
export interface Finding {
  /**
   * - `"check"`: a check of the simulator has failed.
   * - `"death"`: the process has died of it.
   * - `"survived"`: no history has failed.
   * - `"late"`: it has not ended within its time.
   * - `"tool"`: no history could be run at all, which says nothing of the mistake.
   */
  readonly kind: "check" | "death" | "survived" | "late" | "tool";
  /** Histories that there have been. */
  readonly after: number;
  /** What was said; empty where nothing failed. */
  readonly failure: string;
}

/** A folder with a copy; deleted when disposed of. */
export class ScratchCopy implements AsyncDisposable {
  readonly #path: string;

  private constructor(path: string) {
    this.#path = path;
  }

  /** Copies the project in the current folder. */
  static async make(): Promise<ScratchCopy> {
    const path = await Deno.makeTempDir({ prefix: "headwater_mutant_" });
    for (const part of PARTS) await copy(part, `${path}/${part}`);
    return new ScratchCopy(path);
  }

  /**
   * Plants a mistake; the returned function takes it out again.
   *
   * @throws {Error} if its place is not in the file, or more than once.
   */
  async plant(mutant: Mutant): Promise<() => Promise<void>> {
    const originals = new Map<string, string>();
    for (const edit of mutant.edits) {
      const path = `${this.#path}/${edit.file}`;
      const source = await Deno.readTextFile(path);
      if (!originals.has(path)) originals.set(path, source);
      await Deno.writeTextFile(path, mutate(source, edit));
    }
    return async () => {
      for (const [path, source] of originals) {
        await Deno.writeTextFile(path, source);
      }
    };
  }

  /** Runs histories until one fails. */
  async findFailure(
    { seed, histories, timeoutMs }: {
      seed: number;
      histories: number;
      timeoutMs: number;
    },
  ): Promise<Finding> {
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--no-check",
        "--allow-env",
        "tests/simulation/until_failure.ts",
        String(seed),
        String(histories),
      ],
      cwd: this.#path,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      child.kill("SIGKILL");
    }, timeoutMs);
    const { code, stdout, stderr } = await child.output();
    clearTimeout(timer);
    const text = new TextDecoder();
    return findingOf({
      code,
      isLate,
      stdout: text.decode(stdout),
      stderr: text.decode(stderr),
    });
  }

  /** Deletes the copy. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.#path, { recursive: true });
  }
}

/** What a process has found, by what it said and how it ended. */
export function findingOf(
  { code, isLate, stdout, stderr }: {
    code: number;
    isLate: boolean;
    stdout: string;
    stderr: string;
  },
): Finding {
  const lines = stdout.split("\n");
  // The product may print, too: what is not the simulator's is passed over.
  const told = lines.flatMap((line) => toldBy(line));
  const { after = 0, failure } = told.at(-1) ?? {};
  if (code === 1 && failure !== undefined) {
    return { kind: "check", after, failure };
  }
  if (isLate) return { kind: "late", after, failure: "" };
  if (code === 0) return { kind: "survived", after, failure: "" };
  // It begins by saying that there was no history yet.
  const isRunning = told.length > 0;
  const said = stderr.split("\n").find((line) => line.trim() !== "") ?? "";
  const reason = said.trim() || `it ended with code ${code}`;
  return { kind: isRunning ? "death" : "tool", after, failure: reason };
}

function toldBy(line: string): { after: number; failure?: string }[] {
  try {
    const told: unknown = JSON.parse(line);
    if (typeof told !== "object" || told === null) return [];
    const { after, failure } = told as { after?: unknown; failure?: unknown };
    if (typeof after !== "number") return [];
    return [{ after, ...(typeof failure === "string" && { failure }) }];
  } catch {
    return [];
  }
}

/**
 * The source with the mistake.
 *
 * @throws {Error} if its place is not there, or more than once.
 */
export function mutate(source: string, { file, find, replace }: Edit): string {
  const places = source.split(find).length - 1;
  if (places !== 1) {
    throw new Error(`Cannot edit ${file}: "${find}" is there ${places} times`);
  }
  // A function, because "$&" and the like have a meaning in a replacement.
  return source.replace(find, () => replace);
}

async function copy(from: string, to: string): Promise<void> {
  const { isDirectory } = await Deno.stat(from);
  if (!isDirectory) {
    await Deno.mkdir(to.slice(0, to.lastIndexOf("/")), { recursive: true });
    return await Deno.copyFile(from, to);
  }
  await Deno.mkdir(to, { recursive: true });
  for await (const { name } of Deno.readDir(from)) {
    await copy(`${from}/${name}`, `${to}/${name}`);
  }
}
