/**
 * Lets esbuild find npm packages where Deno keeps them.
 *
 * @module
 */
import type * as esbuild from "esbuild";
import { createRequire } from "node:module";

/**
 * Finds packages in Deno's cache. Each is resolved from inside its own folder,
 * by its own name: esbuild then picks the build for browsers by the package's
 * `exports`, where Deno would name the one for Node.
 */
export function packagesOfDeno(): esbuild.Plugin {
  const require = createRequire(import.meta.url);
  return {
    name: "packages-of-deno",
    setup(build) {
      build.onResolve(
        { filter: /^(@[\w.-]+\/)?[\w-]/ },
        async ({ path, kind, importer, pluginData }) => {
          if (pluginData === "found" || kind === "entry-point") {
            return undefined;
          }
          const name = path.split("/").slice(0, path.startsWith("@") ? 2 : 1)
            .join("/");
          const resolveDir = packageRoot(require.resolve(path), name);
          const options = { kind, importer, resolveDir, pluginData: "found" };
          // Old packages have no `exports`, and with that no name inside.
          const byName = await build.resolve(path, options);
          if (byName.errors.length === 0) return byName;
          return await build.resolve(`.${path.slice(name.length)}`, options);
        },
      );
    },
  };
}

/** The folder of package `name` that holds `file`: in Deno's cache, one below its name. */
function packageRoot(file: string, name: string): string {
  const path = file.replaceAll("\\", "/");
  const marker = `/${name}/`;
  const start = path.lastIndexOf(marker) + marker.length;
  if (start < marker.length) {
    throw new Error(`Cannot find the folder of "${name}" above ${file}`);
  }
  return path.slice(0, path.indexOf("/", start));
}
