/**
 * Has esbuild read `.svelte` files, by the compiler of Svelte.
 *
 * @module
 */
import { basename } from "node:path";
import type { Plugin } from "esbuild";
import { compile } from "svelte/compiler";

/** Compiles components for browsers. */
export const svelteFiles: Plugin = {
  name: "svelte-files",
  setup(build) {
    build.onLoad({ filter: /\.svelte$/ }, async ({ path }) => {
      const source = await Deno.readTextFile(path);
      const { js, warnings } = compile(source, {
        filename: basename(path),
        generate: "client",
      });
      return {
        contents: js.code,
        warnings: warnings.map(({ message }) => ({ text: message })),
      };
    });
  },
};
