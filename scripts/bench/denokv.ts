/**
 * `denokv`, the KV that several processes share over the network, as a process
 * that can be killed and started again.
 *
 * @module
 */
import { join } from "node:path";

const START_MS = 20_000;

/**
 * The program, where there is one: what `DENOKV` says, else on the path, else
 * where `.ci/run` has put it.
 */
export function findDenokv(): string | undefined {
  // Not looked for: where somebody says that it is there and it is not, that is to be seen.
  const given = Deno.env.get("DENOKV");
  if (given) return given;
  const folders = (Deno.env.get("PATH") ?? "").split(":");
  return [...folders.filter((folder) => folder !== ""), ...builtFolders()]
    .map((folder) => join(folder, "denokv")).find(isFile);
}

/** Where `.ci/run` keeps what it has built: one folder for each version, the last one first. */
function builtFolders(): string[] {
  const home = Deno.env.get("HOME") ?? "";
  const cache = Deno.env.get("XDG_CACHE_HOME") || join(home, ".cache");
  const tools = join(cache, "headwater-ci");
  try {
    return Array.from(Deno.readDirSync(tools), ({ name }) => name)
      .filter((name) => name.startsWith("denokv-"))
      .sort((a, b) => b.localeCompare(a, "en", { numeric: true }))
      .map((name) => join(tools, name, "bin"));
  } catch {
    return []; // Nothing was built here.
  }
}

/** See the module's documentation. */
export class Denokv implements AsyncDisposable {
  /** What who connects must bring. */
  readonly token = crypto.randomUUID();
  readonly #program: string;
  readonly #folder: string;
  #child: Deno.ChildProcess | undefined;
  #reading: Promise<void> = Promise.resolve();
  #output = "";
  #port = 0;

  private constructor(program: string, folder: string) {
    this.#program = program;
    this.#folder = folder;
  }

  /** Starts one with an empty database, on a port of 127.0.0.1 that the system chooses. */
  static async start(program = findDenokv()): Promise<Denokv> {
    if (program === undefined) {
      throw new Error("There is no denokv: cargo install denokv --locked");
    }
    const folder = await Deno.makeTempDir({ prefix: "headwater_denokv_" });
    const denokv = new Denokv(program, folder);
    try {
      await denokv.restart();
      return denokv;
    } catch (error) {
      await denokv[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Where it is. */
  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** The port that it listens on, the same after each start. */
  get port(): number {
    return this.#port;
  }

  /** What a process that connects needs in its environment. */
  get env(): Record<string, string> {
    return { DENO_KV_ACCESS_TOKEN: this.token };
  }

  /** Ends it as a crash does. */
  async kill(): Promise<void> {
    try {
      this.#child?.kill("SIGKILL");
    } catch {
      // It has ended by itself.
    }
    await this.#child?.status;
    await this.#reading;
    this.#child = undefined;
  }

  /** Starts it on its port and data; resolves when it listens. */
  async restart(): Promise<void> {
    await this.kill();
    this.#output = "";
    const started = Promise.withResolvers<void>();
    this.#child = new Deno.Command(this.#program, {
      args: [
        `--sqlite-path=${this.#folder}/kv.db`,
        "serve",
        `--addr=127.0.0.1:${this.#port}`,
      ],
      env: { ...this.env, RUST_LOG: "info", NO_COLOR: "1" },
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    this.#reading = this.#read(this.#child.stderr, started);
    const timer = setTimeout(
      () => started.reject(this.#failure(`not within ${START_MS} ms`)),
      START_MS,
    );
    await started.promise.finally(() => clearTimeout(timer));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await Deno.remove(this.#folder, { recursive: true });
  }

  async #read(
    stderr: ReadableStream<Uint8Array<ArrayBuffer>>,
    started: PromiseWithResolvers<void>,
  ): Promise<void> {
    for await (const text of stderr.pipeThrough(new TextDecoderStream())) {
      this.#output += text;
      const [, port] = /Listening on http:\/\/127\.0\.0\.1:(\d+)/.exec(
        this.#output,
      ) ?? [];
      if (port === undefined) continue;
      this.#port = Number(port);
      started.resolve();
    }
    started.reject(this.#failure("it has ended"));
  }

  #failure(reason: string): Error {
    return new Error(`denokv does not start: ${reason}\n${this.#output}`);
  }
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}
