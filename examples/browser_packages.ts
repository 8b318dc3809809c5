/**
 * Finds the packages of a page, for its bundler.
 *
 * @module
 */
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type { Plugin } from "esbuild";

/** What a package offers under one name, or under one condition. */
type Exports = string | null | { readonly [key: string]: Exports };

interface Manifest {
  readonly name?: string;
  readonly exports?: Exports;
}

/** What a page asks of a package that has more than one version of itself. */
const CONDITIONS = ["browser", "import", "module", "default"];

const OURS = new URL("../", import.meta.url).pathname;

/** Finds packages as Deno does: by the imports of `deno.json`, and theirs by their own. */
export const importMap: Plugin = {
  name: "import-map",
  setup(build) {
    build.onResolve({ filter: /^[@\w]/ }, ({ path, kind, importer }) => {
      if (kind === "entry-point") return undefined;
      return { path: find(path, importer) };
    });
  },
};

/** Finds the same, and of each package what is meant for browsers: Deno may take another part. */
export const browserPackages: Plugin = {
  name: "browser-packages",
  setup(build) {
    build.onResolve({ filter: /^[@\w]/ }, async ({ path, kind, importer }) => {
      if (kind === "entry-point") return undefined;
      return { path: await forBrowsers(path, find(path, importer)) };
    });
  },
};

function find(specifier: string, importer: string): string {
  if (!importer.startsWith(OURS)) {
    return createRequire(importer).resolve(specifier);
  }
  return decodeURIComponent(new URL(import.meta.resolve(specifier)).pathname);
}

/** The file that a browser is to get for `specifier`, for which Deno would take `found`. */
async function forBrowsers(specifier: string, found: string): Promise<string> {
  const [, name = "", rest] = /^((?:@[^/]+\/)?[^/]+)(.*)$/.exec(specifier) ??
    [];
  for (
    let folder = dirname(found);
    folder !== dirname(folder);
    folder = dirname(folder)
  ) {
    const manifest = await readManifest(folder);
    if (manifest?.name !== name) continue;
    const target = pick(manifest.exports, `.${rest}`);
    return target ? join(folder, target) : found;
  }
  return found; // it is ours
}

function pick(
  exports: Exports | undefined,
  subpath: string,
): string | undefined {
  if (!exports || typeof exports === "string") return undefined;
  for (let entry = exports[subpath]; entry;) {
    if (typeof entry === "string") return entry;
    const offered: { readonly [key: string]: Exports } = entry;
    // The first that fits, in the order of the package.
    const condition = Object.keys(offered).find((key) =>
      CONDITIONS.includes(key)
    );
    entry = condition === undefined ? undefined : offered[condition];
  }
  return undefined;
}

async function readManifest(folder: string): Promise<Manifest | undefined> {
  const text = await Deno.readTextFile(join(folder, "package.json"))
    .catch(() => undefined);
  return text === undefined ? undefined : JSON.parse(text) as Manifest;
}
