/**
 * Bundles each page of `studio/` into one HTML text and writes it as a generated
 * module, so that the server needs no files beside its code.
 *
 * Run it by `deno task build:pages`; with `--check` it writes nothing and fails
 * where a generated module does not match its sources.
 *
 * @module
 */
import * as esbuild from "esbuild";
import { join } from "node:path";
import { packagesOfDeno } from "./packages_of_deno.ts";

/** A page: where its sources are, and the module that holds the result. */
interface Page {
  readonly folder: string;
  readonly output: string;
  readonly constant: string;
  readonly about: string;
}

const PAGES: readonly Page[] = [{
  folder: "studio/start",
  output: "server/http/start_page.ts",
  constant: "START_PAGE",
  about: "The start page: a shared counter and a shared todo list",
}];

/** Path of a generated module, and the text that it should have. */
export interface BuiltPage {
  /** Path from the root of the checkout. */
  readonly output: string;
  /** Text of the module. */
  readonly text: string;
}

/** Builds every page of the checkout at `root`. The same sources give the same text. */
export async function buildPages(root: string): Promise<BuiltPage[]> {
  try {
    return await Promise.all(PAGES.map(async (page) => ({
      output: page.output,
      text: toModule(page, await buildPage(join(root, page.folder))),
    })));
  } finally {
    await esbuild.stop();
  }
}

async function buildPage(folder: string): Promise<string> {
  const [html, style, script] = await Promise.all([
    Deno.readTextFile(join(folder, "page.html")),
    bundle(join(folder, "style.css")),
    bundle(join(folder, "main.ts")),
  ]);
  const page = replaceOnce(
    html,
    /<link rel="stylesheet"[^>]*>/,
    `<style>${style}</style>`,
  );
  // "</script" inside a string of the bundle would end the element early.
  const safe = script.replaceAll(/<\/(script)/gi, "<\\/$1");
  return replaceOnce(
    page,
    /<script type="module"[^>]*><\/script>/,
    `<script type="module">${safe}</script>`,
  ).replaceAll(/\n\s*/g, "\n");
}

async function bundle(entry: string): Promise<string> {
  const result = await esbuild.build({
    entryPoints: [entry],
    bundle: true,
    minify: true,
    write: false,
    format: "esm",
    platform: "browser",
    target: ["es2022", "chrome123", "firefox120", "safari17.5"],
    charset: "utf8",
    legalComments: "none",
    logLevel: "silent",
    plugins: [packagesOfDeno()],
  });
  return (result.outputFiles[0]?.text ?? "").trim();
}

function replaceOnce(
  text: string,
  pattern: RegExp,
  replacement: string,
): string {
  if (!pattern.test(text)) {
    throw new Error(`Cannot inline: ${pattern} is not in the page`);
  }
  return text.replace(pattern, () => replacement);
}

function toModule(page: Page, html: string): string {
  return `// Generated from ${page.folder}/ by \`deno task build:pages\`; edit the sources, not this file.
// deno-fmt-ignore-file
// deno-lint-ignore-file

/** ${page.about}; one HTML document. */
export const ${page.constant}: string = ${JSON.stringify(html)};
`;
}

async function main(): Promise<boolean> {
  const root = join(import.meta.dirname ?? ".", "..");
  const isCheck = Deno.args.includes("--check");
  let isCurrent = true;
  for (const { output, text } of await buildPages(root)) {
    const path = join(root, output);
    const before = await Deno.readTextFile(path).catch(() => "");
    if (before === text) console.log(`${output}: up to date`);
    else if (isCheck) {
      console.error(`${output}: out of date, run deno task build:pages`);
      isCurrent = false;
    } else {
      await Deno.writeTextFile(path, text);
      console.log(`${output}: written, ${text.length} characters`);
    }
  }
  return isCurrent;
}

if (import.meta.main) Deno.exit(await main() ? 0 : 1);
