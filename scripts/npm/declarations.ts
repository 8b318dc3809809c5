/**
 * The declarations of the npm package: one for each source that an entry point
 * shows, made from that source alone.
 *
 * @module
 */
import { join, posix } from "node:path";
import ts from "typescript";
import { withoutIgnored } from "./ignored_members.ts";

/** A declaration as it was built. */
export interface BuiltDeclaration {
  /** Path in the package, such as `types/client/mod.d.ts`. */
  readonly path: string;
  /** Its text. */
  readonly text: string;
}

const IMPORT = /(\bfrom |\bimport\()["'](\.[^"']+)\.tsx?["']/g;

/**
 * Declares `entries`, paths in the checkout at `root`, and all that they name.
 *
 * What is public has its types written out: JSR, and with it the gate, wants that,
 * too. Where a module behind it has not, nobody sees that it becomes `any` here.
 */
export async function buildDeclarations(
  root: string,
  entries: readonly string[],
): Promise<BuiltDeclaration[]> {
  const declared = new Map<string, BuiltDeclaration>();
  const waiting = [...entries];
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    if (declared.has(path)) continue;
    const { outputText } = ts.transpileDeclaration(
      await Deno.readTextFile(join(root, path)),
      {
        fileName: path,
        compilerOptions: {
          target: ts.ScriptTarget.ES2022,
          module: ts.ModuleKind.NodeNext,
          jsx: ts.JsxEmit.ReactJSX,
          strict: true,
          isolatedDeclarations: true,
        },
      },
    );
    const shown = withoutIgnored(outputText);
    for (const [specifier] of shown.matchAll(IMPORT)) {
      const [, found = ""] = /["']([^"']+)["']/.exec(specifier) ?? [];
      waiting.push(posix.join(posix.dirname(path), found));
    }
    declared.set(path, {
      path: declarationOf(path),
      text: shown.replaceAll(IMPORT, '$1"$2.js"'),
    });
  }
  return [...declared.values()];
}

/** Where the declaration of a source is, in the package. */
export function declarationOf(source: string): string {
  return `types/${source.replace(/\.tsx?$/, ".d.ts")}`;
}
