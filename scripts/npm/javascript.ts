/**
 * The JavaScript of the npm package: one module for each source that an entry point
 * needs, so that whoever bundles a page takes no more of them than it uses. Packages
 * of others stay imports.
 *
 * @module
 */
import * as esbuild from "esbuild";
import { dirname, join, posix, relative } from "node:path";

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

/** What stands in for globals that the oldest Node has not. */
const STAND_INS = "scripts/npm/node_20.ts";

/** A relative import of a source. */
const IMPORT =
  /(\bfrom\s*|\bimport\s*\(\s*|\bimport\s*)["'](\.[^"'\n]+)\.tsx?["']/g;

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

/** Builds `entries`, paths in the checkout at `root`, and all that they need. */
export async function buildJavaScript(
  root: string,
  entries: readonly string[],
): Promise<BuiltModule[]> {
  try {
    const { metafile: { inputs } } = await esbuild.build({
      ...settingsOf(root),
      // Each module imports them itself.
      inject: [],
      entryPoints: [...entries, STAND_INS].map((path) => join(root, path)),
      outdir: join(root, "dist"),
      splitting: true,
      write: false,
      metafile: true,
      plugins: [modulesForNode(root)],
    });
    const found = Object.entries(inputs).map(([path, { imports }]) =>
      toModule(root, path, imports)
    );
    return await Promise.all(found);
  } finally {
    await esbuild.stop();
  }
}

/** Where the module of a source is in the package. */
export function moduleOf(source: string): string {
  return `dist/${source.replace(/\.tsx?$/, ".js")}`;
}

async function toModule(
  root: string,
  source: string,
  imports: readonly { path: string; kind: string; external?: boolean }[],
): Promise<BuiltModule> {
  const { define, target, charset, legalComments, format } = settingsOf(root);
  const { code } = await esbuild.transform(await textOf(root, source), {
    define,
    target,
    charset,
    legalComments,
    format,
    loader: source.endsWith("x") ? "tsx" : "ts",
    jsx: "automatic",
  });
  const standIns = source === STAND_INS
    ? []
    : Object.values(define).filter((name) => code.includes(`${name}(`));
  const text = code.replaceAll(IMPORT, '$1"$2.js"');
  const all = imports.map(({ path, kind, external }) => ({
    target: external ? path : moduleOf(path),
    isOurs: external !== true,
    isDynamic: kind === "dynamic-import",
  }));
  if (standIns.length === 0) {
    return { path: moduleOf(source), text, imports: all };
  }
  const standIn = moduleOf(STAND_INS);
  const from = posix.relative(posix.dirname(moduleOf(source)), standIn);
  return {
    path: moduleOf(source),
    text: `import { ${standIns.join(", ")} } from "${from}";\n${text}`,
    imports: [...all, { target: standIn, isOurs: true, isDynamic: false }],
  };
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
    inject: [join(root, STAND_INS)],
  } satisfies esbuild.BuildOptions;
}

/** Finds our modules, with Node's adapters in the place of Deno's. */
function modulesForNode(root: string): esbuild.Plugin {
  return {
    name: "modules-of-node",
    setup(build) {
      build.onLoad(
        { filter: /[\\/](?:server[\\/]mod|deno_\w+)\.ts$/ },
        async ({ path }) => ({
          contents: await textOf(root, relative(root, path)),
          loader: "ts",
          resolveDir: dirname(path),
        }),
      );
    },
  };
}

/** The text of a source, as it is for Node. */
async function textOf(root: string, source: string): Promise<string> {
  if (/\bdeno_\w+\.ts$/.test(source)) {
    const text = SWAPS[source];
    if (text === undefined) throw new Error(`${source} is for Deno alone`);
    return text;
  }
  const text = await Deno.readTextFile(join(root, source));
  // On npm the program is another module; in here it would bring its page along.
  return source === "server/mod.ts" ? withoutProgram(text) : text;
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
