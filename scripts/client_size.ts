/**
 * Measures what a page loads that imports `./client`: `deno task size`.
 * `--all` tells the size of each module in it, too.
 *
 * @module
 */
import * as esbuild from "esbuild";
import { Buffer } from "node:buffer";
import { gzipSync } from "node:zlib";
import { join, relative } from "node:path";
import { packagesOfDeno } from "./packages_of_deno.ts";

/** Gzipped bytes that a page may load before it can subscribe and call. */
export const BASE_GOAL = 14 * 1024;
/** The same with the part that writes. */
export const ALL_GOAL = 25 * 1024;

/** What a page loads together. */
export interface Chunk {
  /** Bytes, minified. */
  readonly bytes: number;
  /** Bytes on the way. */
  readonly gzipped: number;
  /** Bytes of each module in it, largest first. */
  readonly modules: readonly (readonly [path: string, bytes: number])[];
}

/** What a page loads: at once, and later. */
export interface ClientSize {
  /** Before it can subscribe and call. */
  readonly base: Chunk;
  /** To write. */
  readonly late: Chunk;
}

/** What the npm package says of its modules: one of which nothing is used is left out. */
const withoutSideEffects: esbuild.Plugin = {
  name: "without-side-effects",
  setup(build) {
    build.onResolve({ filter: /^\./ }, ({ path, resolveDir }) => ({
      path: join(resolveDir, path),
      sideEffects: false,
    }));
  },
};

/** Bundles a page that makes a client, as a site is built for production. */
export async function measureClient(root: string): Promise<ClientSize> {
  try {
    const { outputFiles, metafile } = await esbuild.build({
      stdin: {
        contents: `import { createClient } from "./client/mod.ts";
          globalThis.client = createClient(location.origin);`,
        resolveDir: root,
      },
      bundle: true,
      splitting: true,
      minify: true,
      write: false,
      metafile: true,
      outdir: root,
      absWorkingDir: root,
      format: "esm",
      platform: "browser",
      target: ["es2022"],
      legalComments: "none",
      logLevel: "silent",
      plugins: [withoutSideEffects, packagesOfDeno()],
    });
    const base = reachedBy(metafile, "stdin.js");
    const files = outputFiles.map(({ path, contents }) => {
      const name = relative(root, path);
      const { inputs } = metafile.outputs[name]!; // it was written
      return { name, contents, inputs };
    });
    return {
      base: toChunk(files.filter(({ name }) => base.has(name))),
      late: toChunk(files.filter(({ name }) => !base.has(name))),
    };
  } finally {
    await esbuild.stop();
  }
}

interface OutputFile {
  readonly contents: Uint8Array;
  readonly inputs: Readonly<Record<string, { readonly bytesInOutput: number }>>;
}

/** The files as one: Rollup, and with it Vite, puts what is loaded together into one file. */
function toChunk(files: readonly OutputFile[]): Chunk {
  const contents = Buffer.concat(files.map(({ contents }) => contents));
  const modules = files.flatMap(({ inputs }) => Object.entries(inputs))
    .map(([path, { bytesInOutput }]) => [path, bytesInOutput] as const)
    .filter(([, bytes]) => bytes > 0).sort(([, a], [, b]) => b - a);
  return {
    bytes: contents.length,
    gzipped: gzipSync(contents, { level: 9 }).length,
    modules,
  };
}

/** The files that `entry` imports before it runs, and itself. */
function reachedBy(metafile: esbuild.Metafile, entry: string): Set<string> {
  const reached = new Set([entry]);
  for (const name of reached) {
    for (const { path, kind } of metafile.outputs[name]?.imports ?? []) {
      if (kind === "import-statement") reached.add(path);
    }
  }
  return reached;
}

/** The sizes as text; with `isLong` those of the modules, too. */
function report({ base, late }: ClientSize, isLong: boolean): string {
  const both = {
    bytes: base.bytes + late.bytes,
    gzipped: base.gzipped + late.gzipped,
  };
  const rows = [
    `${"".padEnd(24)}${"minified".padStart(10)}${"gzipped".padStart(10)}`,
    row("subscribe and call", base, BASE_GOAL),
    row("to write, loaded apart", late),
    row("both", both, ALL_GOAL),
  ];
  if (isLong) {
    rows.push("", "subscribe and call:", ...modulesOf(base));
    rows.push("", "to write:", ...modulesOf(late));
  }
  return rows.join("\n");
}

function row(
  what: string,
  { bytes, gzipped }: Pick<Chunk, "bytes" | "gzipped">,
  goal?: number,
): string {
  const sizes = [bytes, gzipped].map((size) => kilobytes(size).padStart(10));
  const verdict = goal === undefined
    ? ""
    : `  goal ${kilobytes(goal)}: ${gzipped <= goal ? "met" : "MISSED"}`;
  return `${what.padEnd(24)}${sizes.join("")}${verdict}`;
}

function modulesOf({ modules }: Chunk): string[] {
  return modules.map(([path, bytes]) =>
    `${String(bytes).padStart(8)}  ${
      path.replace(/^.*(node_modules|npm\/registry.npmjs.org)\//, "")
    }`
  );
}

function kilobytes(bytes: number): string {
  return `${(bytes / 1024).toFixed(1)} KB`;
}

if (import.meta.main) {
  const size = await measureClient(join(import.meta.dirname ?? ".", ".."));
  console.log(report(size, Deno.args.includes("--all")));
}
