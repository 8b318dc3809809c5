/** That the declarations compile for strict consumers, library checks included. */
import { join } from "node:path";
import type { Check } from "../check.ts";

const RESOLUTIONS = {
  nodenext: { module: "nodenext", moduleResolution: "nodenext" },
  bundler: { module: "esnext", moduleResolution: "bundler" },
} as const;

const STRICT = {
  target: "es2022",
  strict: true,
  noEmit: true,
  skipLibCheck: false,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  noImplicitOverride: true,
  verbatimModuleSyntax: true,
};

/** What each consumer has; frameworks' own declarations are theirs to keep whole. */
const CONSUMERS = {
  server: { lib: ["es2022"], types: ["node"] },
  page: { lib: ["es2022", "dom"], types: [] },
  react: { lib: ["es2022", "dom", "dom.iterable"], types: ["react"] },
  frameworks: { lib: ["es2022"], types: ["node"], skipLibCheck: true },
} as const;

/** Compiles each consumer by each module resolution. */
export const types: Check = {
  name: "types",
  claim:
    "strict TypeScript compiles with nodenext and bundler, without skipLibCheck",
  async run(lab) {
    const consumer = await lab.consumer("types", [
      "@deno/kv",
      "@hono/node-server",
      "@types/express",
      "@types/node",
      "@types/react",
      "@types/ws",
      "express",
      "fastify",
      "hono",
      "react",
      "typescript",
      "ws",
      "zustand",
    ]);
    await Promise.all(
      Object.entries(CONSUMERS).map(async ([name, own]) => {
        const source = join(lab.root, "scripts/npm/consumers", `${name}.ts`);
        for (const [resolution, settings] of Object.entries(RESOLUTIONS)) {
          const folder = `${name}-${resolution}`;
          await consumer.write({
            [`${folder}/${name}.ts`]: await Deno.readTextFile(source),
            [`${folder}/tsconfig.json`]: JSON.stringify({
              compilerOptions: { ...STRICT, ...settings, ...own },
            }),
          });
          await consumer.run("npx", ["--no-install", "tsc", "-p", folder]);
        }
      }),
    );
    const version = await consumer.run("npx", ["--no-install", "tsc", "-v"]);
    return `TypeScript ${/[\d.]+/.exec(version)?.[0]}: ${
      Object.keys(CONSUMERS).join(", ")
    }`;
  },
};
