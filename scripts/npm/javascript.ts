/**
 * The JavaScript of the npm package: one module for each entry point, and what
 * they share once. Packages of others stay imports.
 *
 * @module
 */
import * as esbuild from "esbuild";
import { dirname, join } from "node:path";

/** A module of the package as it was built. */
export interface BuiltModule {
  /** Path in the package, such as `dist/client.js`. */
  readonly path: string;
  /** Its text. */
  readonly text: string;
  /** What it imports: paths in the package, or packages, or modules of Node. */
  readonly imports: readonly Import[];
}

/** One import of a module. */
export interface Import {
  /** A path in the package, or the name of a package or of a module of Node. */
  readonly target: string;
  /** Whether it is in the package. */
  readonly isOurs: boolean;
  /** Whether it is loaded only when it is needed. */
  readonly isDynamic: boolean;
}

/** The oldest Node that the package is for. */
export const OLDEST_NODE = 20;

/** What is there for Deno alone, and what takes its place. */
const SWAPS: Readonly<Record<string, string>> = {
  "adapters/deno_ports.ts":
    'export { nodePorts as denoPorts } from "./node_ports.ts";',
};

/**
 * Bundles one source, with all of ours that it needs, into a module that Node runs;
 * packages stay imports.
 */
export async function bundleForNode(
  root: string,
  source: string,
  outfile: string,
): Promise<void> {
  try {
    await esbuild.build({
      ...settingsOf(root),
      entryPoints: [join(root, source)],
      outfile,
    });
  } finally {
    await esbuild.stop();
  }
}

/** Bundles `entries`, paths in the checkout at `root` by the names of their modules. */
export async function buildJavaScript(
  root: string,
  entries: Readonly<Record<string, string>>,
): Promise<BuiltModule[]> {
  try {
    const { metafile, outputFiles } = await esbuild.build({
      entryPoints: Object.entries(entries).map(([out, path]) => ({
        in: join(root, path),
        out,
      })),
      outdir: join(root, "dist"),
      chunkNames: "shared/[hash]",
      ...settingsOf(root),
      splitting: true,
      write: false,
      metafile: true,
      plugins: [modulesForNode(root)],
    });
    return outputFiles.map(({ path, text }) => {
      const relative = path.slice(root.length + 1);
      const { imports = [] } = metafile.outputs[relative] ?? {};
      return {
        path: relative,
        text,
        imports: imports.map((found) => ({
          target: found.path,
          isOurs: found.external !== true,
          isDynamic: found.kind === "dynamic-import",
        })),
      };
    });
  } finally {
    await esbuild.stop();
  }
}

function settingsOf(root: string) {
  return {
    absWorkingDir: root,
    bundle: true,
    format: "esm",
    platform: "node",
    packages: "external",
    target: `node${OLDEST_NODE}`,
    charset: "utf8",
    legalComments: "none",
    logLevel: "silent",
    define: {
      "Promise.withResolvers": "promiseWithResolvers",
      "Map.groupBy": "mapGroupBy",
    },
    inject: [join(root, "scripts/npm/node_20.ts")],
  } satisfies esbuild.BuildOptions;
}

/** Finds our modules, with Node's adapters in the place of Deno's. */
function modulesForNode(root: string): esbuild.Plugin {
  return {
    name: "modules-of-node",
    setup(build) {
      // On npm the program is another module; in here it would bring its page along.
      build.onLoad(
        { filter: /[\\/]server[\\/]mod\.ts$/ },
        async ({ path }) => ({
          contents: withoutProgram(await Deno.readTextFile(path)),
          loader: "ts",
          resolveDir: dirname(path),
        }),
      );
      build.onLoad({ filter: /[\\/]deno_\w+\.ts$/ }, ({ path }) => {
        const contents = SWAPS[path.slice(root.length + 1)];
        return contents === undefined
          ? { errors: [{ text: "It is for Deno alone" }] }
          : { contents, loader: "ts", resolveDir: dirname(path) };
      });
    },
  };
}

/** The text of a module without what makes it a program when it is run. */
function withoutProgram(text: string): string {
  const lines = text.split("\n");
  const kept = lines.filter((line) => !/\brunCli\b/.test(line));
  if (lines.length - kept.length !== 2) {
    throw new Error(
      "Cannot take the program out of server/mod.ts: it is not an import and one line",
    );
  }
  return kept.join("\n");
}
