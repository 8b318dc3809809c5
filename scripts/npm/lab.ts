/**
 * Where the package is tried: folders in which it is installed as users install it,
 * and the versions of Node that it is for.
 *
 * @module
 */
import { dirname, join } from "node:path";
import { type FreshProcess, startProcess } from "../../tests/_fresh_process.ts";
import { within } from "../../tests/_waiting.ts";

/** Everything that is installed beside the package, in the one version that was tried. */
const VERSIONS = {
  "@deno/kv": "0.14.0",
  "@hono/node-server": "2.1.8",
  "@msgpack/msgpack": "3.1.3",
  "@types/express": "5.0.6",
  "@types/node": "20.19.25",
  "@types/react": "19.3.0",
  "@types/ws": "8.18.1",
  "create-vite": "9.3.0",
  "express": "5.3.0",
  "fastify": "5.12.8",
  "hono": "4.13.19",
  "react": "19.3.1",
  "typescript": "6.0.3",
  "vite": "8.3.8",
  "ws": "8.23.0",
  "zustand": "5.1.0",
} as const;

/** Versions of Node, from the oldest on, as the registry has them. */
export const NODES = { 20: "20.20.2", 22: "22.23.3", 24: "24.21.0" } as const;

/** How long a command may take. */
const COMMAND_MS = 120_000;

/** See the module's documentation. */
export class Lab {
  /** The root of the checkout. */
  readonly root: string;
  /** The package, as `npm pack` made it. */
  readonly tarball: string;
  readonly #folder: string;
  readonly #nodes = new Map<number, Promise<string>>();
  readonly #consumers = new Map<string, Promise<Consumer>>();

  /** Works in `folder`, which is removed by its owner. */
  constructor(options: { root: string; tarball: string; folder: string }) {
    this.root = options.root;
    this.tarball = options.tarball;
    this.#folder = options.folder;
  }

  /**
   * A folder in which the package is installed with others, made at the first use of
   * that name.
   */
  consumer(
    name: string,
    packages: readonly (keyof typeof VERSIONS)[],
  ): Promise<Consumer> {
    const known = this.#consumers.get(name);
    if (known) return known;
    const made = this.#install(name, [
      this.tarball,
      ...packages.map((name) => `${name}@${VERSIONS[name]}`),
    ]);
    this.#consumers.set(name, made);
    return made;
  }

  /** The program of that version of Node. */
  node(major: keyof typeof NODES): Promise<string> {
    const known = this.#nodes.get(major);
    if (known) return known;
    // Not the package "node", which needs a script of its own to find this one.
    const os = Deno.build.os === "windows" ? "win" : Deno.build.os;
    const arch = Deno.build.arch === "aarch64" ? "arm64" : "x64";
    const name = `node-${os}-${arch}`;
    const found = this.#install(`node-${major}`, [`${name}@${NODES[major]}`])
      .then(({ path }) => join(path, "node_modules", name, "bin/node"));
    this.#nodes.set(major, found);
    return found;
  }

  async #install(name: string, what: readonly string[]): Promise<Consumer> {
    const consumer = new Consumer(join(this.#folder, name));
    await consumer.write({
      "package.json": JSON.stringify({ private: true, type: "module" }),
    });
    await consumer.run("npm", [
      "install",
      "--prefer-offline",
      "--install-links",
      ...what,
    ]);
    return consumer;
  }
}

/** A folder of somebody who uses the package. */
export class Consumer {
  /** Where it is. */
  readonly path: string;

  /** Nothing is written yet. */
  constructor(path: string) {
    this.path = path;
  }

  /** Writes files by their paths. */
  async write(files: Readonly<Record<string, string>>): Promise<void> {
    for (const [name, text] of Object.entries(files)) {
      const path = join(this.path, name);
      await Deno.mkdir(dirname(path), { recursive: true });
      await Deno.writeTextFile(path, text);
    }
  }

  /** Starts a program in here. */
  start(
    program: string,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): FreshProcess {
    return startProcess(program, {
      args: [...args],
      cwd: this.path,
      // What npm has to say about its settings would be taken for output.
      env: { npm_config_loglevel: "error", ...env },
    });
  }

  /**
   * Runs a program to its end, and returns what it printed.
   *
   * @throws {Error} with all of that if it fails.
   */
  async run(
    program: string,
    args: readonly string[],
    { env = {}, code: expected = 0 }: {
      readonly env?: Readonly<Record<string, string>>;
      readonly code?: number;
    } = {},
  ): Promise<string> {
    await using process = this.start(program, args, env);
    const { code } = await within(process.exited, {
      ms: COMMAND_MS,
      describe: () =>
        `the end of ${program} ${args.join(" ")}\n${process.output}`,
    });
    const output = await process.whole();
    if (code === expected) return output;
    throw new Error(
      `${program} ${args.join(" ")} ended with ${code}:\n${output}`,
    );
  }
}
