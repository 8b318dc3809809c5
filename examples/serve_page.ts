/**
 * Pages of the examples: bundled when an example starts, then served from memory.
 *
 * @module
 */
import * as esbuild from "esbuild";
import type { Page, Server } from "@headwater/sync/server";
import { browserPackages } from "./browser_packages.ts";

/** How a page is bundled. */
export interface BundleOptions {
  /** The module that it begins with. */
  readonly main?: string;
  /** Whether its packages say what they find suspicious, as they do in development. */
  readonly isDevelopment?: boolean;
  /** Who reads files that are no TypeScript. */
  readonly plugins?: readonly esbuild.Plugin[];
}

/**
 * Bundles `main.ts` and `style.css` beside an `index.html`, for the option `pages`
 * of `createServer()`.
 */
export async function bundlePage(
  folder: URL,
  { main = "main.ts", isDevelopment = false, plugins = [] }: BundleOptions = {},
): Promise<Record<string, Page>> {
  const html = await Deno.readTextFile(new URL("index.html", folder));
  const mode = isDevelopment ? "development" : "production";
  try {
    const { outputFiles } = await esbuild.build({
      entryPoints: [main, "style.css"].map((name) => pathOf(name, folder)),
      outdir: "/",
      bundle: true,
      minify: !isDevelopment,
      jsx: "automatic",
      define: { "process.env.NODE_ENV": JSON.stringify(mode) },
      write: false,
      format: "esm",
      target: "es2022",
      plugins: [...plugins, browserPackages],
    });
    const [script, style] = outputFiles.map(({ text }) => text);
    return {
      "/": { body: html, type: "text/html; charset=utf-8" },
      "/main.js": {
        body: script ?? "",
        type: "text/javascript; charset=utf-8",
      },
      "/style.css": { body: style ?? "", type: "text/css; charset=utf-8" },
    };
  } finally {
    await esbuild.stop();
  }
}

/** Listens on `PORT`, or 4400, and closes the server when the process is asked to end. */
export async function serve(server: Server, name: string): Promise<void> {
  await server.listen({ port: Number(Deno.env.get("PORT") ?? 4400) });
  console.log(`${name} at http://localhost:${server.port}`);
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => void server.close());
  }
}

/** The file that a package, or a path from a folder, stands for. */
function pathOf(specifier: string, folder?: URL): string {
  const url = new URL(
    folder ? new URL(specifier, folder) : import.meta.resolve(specifier),
  );
  return decodeURIComponent(url.pathname);
}
