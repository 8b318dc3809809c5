/**
 * The `package.json` of the npm package, made from `deno.json` and from what the
 * built modules import.
 *
 * @module
 */
import { isBuiltin } from "node:module";
import type { BuiltModule } from "./javascript.ts";
import { declarationOf } from "./declarations.ts";
import { moduleOf, OLDEST_NODE } from "./javascript.ts";

/** The part of `deno.json` that the package is made from. */
export interface DenoConfig {
  readonly name: string;
  readonly version: string;
  readonly license: string;
  readonly exports: Readonly<Record<string, string>>;
  readonly imports: Readonly<Record<string, string>>;
}

/** What `npx headwater` runs. */
export const PROGRAM = "scripts/npm/headwater.ts";

/** Entry points that make sense on Deno alone. */
const DENO_ONLY: ReadonlySet<string> = new Set(["./serve"]);

/** Entry points that run in browsers, where nothing of Node may be imported. */
const FOR_BROWSERS: readonly string[] = [
  "./client",
  "./indexeddb",
  "./react",
  "./zustand",
];

/** Packages that are always there; nobody has to install them. */
const DEPENDENCIES: ReadonlySet<string> = new Set([
  "@logtape/logtape",
  "@msgpack/msgpack",
  "@noble/hashes",
  "hono",
  "idb",
  "mutative",
]);

/** Packages that those install who need them, in a range that was tried. */
const OPTIONAL_PEERS: Readonly<Record<string, string>> = {
  "@deno/kv": "~0.14.0",
  "react": ">=19",
  "ws": "^8.19.0",
  "yjs": "^13.6.0",
  "zustand": "^5.0.0",
};

/** Packages of which a file is imported that their next version may not have. */
const EXACT: ReadonlySet<string> = new Set(["mutative"]);

/** An entry point of the package. */
export interface Entry {
  /** Its name as it is imported, such as `./client`. */
  readonly name: string;
  /** Its source, in the checkout. */
  readonly source: string;
  /** Its module, in the package. */
  readonly module: string;
}

/** The entry points of the package. */
export function entriesOf({ exports }: DenoConfig): Entry[] {
  return Object.entries(exports)
    .filter(([name]) => !DENO_ONLY.has(name))
    .map(([name, path]) => {
      const source = path.replace(/^\.\//, "");
      return { name, source, module: moduleOf(source) };
    });
}

/**
 * The manifest.
 *
 * @throws {Error} where a module imports what is no dependency, or an entry point
 * for browsers something of Node.
 */
export function toManifest(
  config: DenoConfig,
  modules: readonly BuiltModule[],
): Record<string, unknown> {
  const entries = entriesOf(config);
  const used = packagesOf(modules);
  const unknown = [...used].filter((name) =>
    !DEPENDENCIES.has(name) && !(name in OPTIONAL_PEERS)
  );
  if (unknown.length > 0) {
    throw new Error(`Not in the manifest: ${unknown.join(", ")}`);
  }
  for (const { name, module } of entries) {
    if (FOR_BROWSERS.includes(name)) checkForBrowsers(module, modules);
  }
  const peers = Object.entries(OPTIONAL_PEERS).filter(([name]) =>
    used.has(name)
  );
  return {
    name: config.name,
    version: config.version,
    description:
      "Shared state that the server owns and everyone sees: durable, in order, over WebSocket",
    keywords: [
      "realtime",
      "state",
      "sync",
      "websocket",
      "offline",
      "collaboration",
      "react",
    ],
    license: config.license,
    type: "module",
    engines: { node: `>=${OLDEST_NODE}` },
    sideEffects: false,
    bin: { headwater: moduleOf(PROGRAM) },
    exports: {
      ...Object.fromEntries(entries.map(({ name, source, module }) => [name, {
        types: `./${declarationOf(source)}`,
        // The server is no part of a page, and cannot be bundled into one.
        ...(name === "." && { browser: `./${moduleOf("client/mod.ts")}` }),
        default: `./${module}`,
      }])),
      "./package.json": "./package.json",
    },
    files: ["dist", "types", "PROTOCOL.md", "CHANGELOG.md"],
    dependencies: Object.fromEntries(
      [...used].filter((name) => DEPENDENCIES.has(name)).sort().map((name) => [
        name,
        `${EXACT.has(name) ? "" : "^"}${versionOf(name, config)}`,
      ]),
    ),
    peerDependencies: Object.fromEntries(peers),
    peerDependenciesMeta: Object.fromEntries(
      peers.map(([name]) => [name, { optional: true }]),
    ),
  };
}

/** All modules that are loaded with `module`, those that wait for their use not. */
export function loadedWith(
  module: string,
  modules: readonly BuiltModule[],
): BuiltModule[] {
  const byPath = new Map(modules.map((built) => [built.path, built]));
  const loaded = new Set<BuiltModule>();
  const visit = (path: string) => {
    const built = byPath.get(path);
    if (built === undefined || loaded.has(built)) return;
    loaded.add(built);
    for (const { target, isOurs, isDynamic } of built.imports) {
      if (isOurs && !isDynamic) visit(target);
    }
  };
  visit(module);
  return [...loaded];
}

function checkForBrowsers(
  module: string,
  modules: readonly BuiltModule[],
): void {
  for (const { path, imports } of loadedWith(module, modules)) {
    const found = imports.find(({ target }) => isBuiltin(target));
    if (found) {
      throw new Error(
        `"${module}" is for browsers, and ${path} imports "${found.target}"`,
      );
    }
  }
}

function packagesOf(modules: readonly BuiltModule[]): Set<string> {
  return new Set(
    modules.flatMap(({ imports }) => imports)
      .filter(({ target, isOurs }) => !isOurs && !isBuiltin(target))
      .map(({ target }) => packageOf(target)),
  );
}

/** `hono/cors` is part of `hono`. */
function packageOf(specifier: string): string {
  return specifier.split("/").slice(0, specifier.startsWith("@") ? 2 : 1).join(
    "/",
  );
}

function versionOf(name: string, { imports }: DenoConfig): string {
  const version = /@([^@/]+)$/.exec(imports[name] ?? "")?.[1];
  if (version === undefined) {
    throw new Error(`deno.json has no version of "${name}"`);
  }
  return version;
}
