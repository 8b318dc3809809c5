import assert from "node:assert/strict";
import type { BuiltModule, Import } from "../scripts/npm/javascript.ts";
import { type DenoConfig, toManifest } from "../scripts/npm/manifest.ts";
import { measure } from "../scripts/npm/sizes.ts";

const CONFIG: DenoConfig = {
  name: "@headwater/sync",
  version: "1.2.3",
  license: "MIT",
  exports: {
    ".": "./mod.ts",
    "./client": "./client/mod.ts",
    "./serve": "./adapters/serve.ts",
  },
  imports: {
    "@msgpack/msgpack": "npm:@msgpack/msgpack@3.1.3",
    "mutative": "npm:mutative@2.0.0",
    "zod": "npm:zod@4.6.7",
  },
};

function module(
  path: string,
  imports: readonly (Partial<Import> & { target: string })[] = [],
): BuiltModule {
  return {
    path,
    text: `// ${path}`,
    imports: imports.map((found) => ({
      isOurs: false,
      isDynamic: false,
      ...found,
    })),
  };
}

const SHARED = module("dist/shared/A.js", [
  { target: "@msgpack/msgpack" },
  { target: "mutative/dist/some.mjs" },
]);

Deno.test("toManifest() has entry points, dependencies that are used, and optional peers", () => {
  const manifest = toManifest(CONFIG, [
    module("dist/mod.js", [{ target: "node:fs" }, { target: "ws" }]),
    module("dist/client/mod.js", [{
      target: "dist/shared/A.js",
      isOurs: true,
    }]),
    SHARED,
  ]);
  assert.deepEqual(manifest["exports"], {
    ".": {
      types: "./types/mod.d.ts",
      browser: "./dist/client/mod.js",
      default: "./dist/mod.js",
    },
    "./client": {
      types: "./types/client/mod.d.ts",
      default: "./dist/client/mod.js",
    },
    "./package.json": "./package.json",
  });
  assert.deepEqual(manifest["dependencies"], {
    "@msgpack/msgpack": "^3.1.3",
    "mutative": "2.0.0",
  });
  assert.deepEqual(manifest["peerDependencies"], { ws: "^8.19.0" });
  assert.deepEqual(manifest["peerDependenciesMeta"], {
    ws: { optional: true },
  });
});

Deno.test("toManifest() refuses a package that nobody would install", () => {
  assert.throws(
    () => toManifest(CONFIG, [module("dist/mod.js", [{ target: "zod" }])]),
    /Not in the manifest: zod/,
  );
});

Deno.test("toManifest() refuses Node in what browsers load, but not in what waits for its use", () => {
  const build = (isDynamic: boolean) => [
    module("dist/mod.js"),
    module("dist/client/mod.js", [
      { target: "dist/shared/B.js", isOurs: true, isDynamic },
    ]),
    module("dist/shared/B.js", [{ target: "timers" }]),
  ];
  assert.throws(
    () => toManifest(CONFIG, build(false)),
    /"dist\/client\/mod\.js" is for browsers, and dist\/shared\/B\.js imports "timers"/,
  );
  toManifest(CONFIG, build(true));
});

Deno.test("measure() counts what an entry point loads, once, and not what waits", () => {
  const [size] = measure(
    [{
      name: "./client",
      source: "client/mod.ts",
      module: "dist/client/mod.js",
    }],
    [
      module("dist/client/mod.js", [
        { target: "dist/shared/A.js", isOurs: true },
        { target: "dist/shared/C.js", isOurs: true, isDynamic: true },
      ]),
      SHARED,
      module("dist/shared/C.js"),
    ],
  );
  assert.equal(
    size?.bytes,
    "// dist/client/mod.js\n// dist/shared/A.js".length,
  );
});
