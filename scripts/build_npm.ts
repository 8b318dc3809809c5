/**
 * Makes the npm package in `npm/`, from the same sources as everything else.
 *
 * Run it by `deno run -A scripts/build_npm.ts`; `deno task npm` also tries what it
 * makes.
 *
 * @module
 */
import { dirname, join } from "node:path";
import { buildDeclarations } from "./npm/declarations.ts";
import { buildJavaScript } from "./npm/javascript.ts";
import {
  type DenoConfig,
  entriesOf,
  PROGRAM,
  toManifest,
} from "./npm/manifest.ts";
import { measure, toSizeTable } from "./npm/sizes.ts";

/** Files that go in as they are. */
const DOCUMENTS = ["README.md", "PROTOCOL.md", "CHANGELOG.md", "LICENSE"];

/** Builds the package of the checkout at `root` into the folder `out`; returns its sizes for people. */
export async function buildNpm(root: string, out: string): Promise<string> {
  const config: DenoConfig = JSON.parse(
    await Deno.readTextFile(join(root, "deno.json")),
  );
  const entries = entriesOf(config);
  const modules = await buildJavaScript(root, [
    ...entries.map(({ source }) => source),
    PROGRAM,
  ]);
  const declarations = await buildDeclarations(
    root,
    entries.map(({ source }) => source),
  );
  const manifest = toManifest(config, modules);
  await Deno.remove(out, { recursive: true }).catch(() => {});
  await write(out, [
    ...modules,
    ...declarations,
    { path: "package.json", text: `${JSON.stringify(manifest, null, 2)}\n` },
  ]);
  for (const name of DOCUMENTS) {
    await Deno.copyFile(join(root, name), join(out, name));
  }
  return toSizeTable(measure(entries, modules));
}

async function write(
  out: string,
  files: readonly { readonly path: string; readonly text: string }[],
): Promise<void> {
  for (const { path, text } of files) {
    await Deno.mkdir(dirname(join(out, path)), { recursive: true });
    await Deno.writeTextFile(join(out, path), text);
  }
}

if (import.meta.main) {
  const root = join(import.meta.dirname ?? ".", "..");
  console.log(await buildNpm(root, join(root, "npm")));
}
