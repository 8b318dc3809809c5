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

  /**
   * Runs histories until one fails, and says what it was; undefined: none did.
   *
   * @throws {Error} if the simulator cannot run at all.
   */
  async findFailure(
    { seed, histories, timeoutMs }: {
      seed: number;
      histories: number;
      timeoutMs: number;
    },
  ): Promise<{ after: number; failure: string } | undefined> {
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
    const lines = new TextDecoder().decode(stdout).trim().split("\n");
    const [last = ""] = lines.slice(-1);
    // A mistake that makes the product loop for ever is noticed, too.
    if (isLate) {
      return { after: Number(last) || 0, failure: "It never ends" };
    }
    if (code === 0) return undefined;
    if (code === 1) return JSON.parse(last);
    const reason = new TextDecoder().decode(stderr).trim();
    return { after: Number(last) || 0, failure: reason.split("\n")[0] ?? "" };
  }

  /** Deletes the copy. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.#path, { recursive: true });
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
