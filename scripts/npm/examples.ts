/**
 * The examples as their readers have them on Node: their files beside the installed
 * package. Before Node 22.18 they have to be compiled.
 *
 * @module
 */
import { basename, join } from "node:path";
import ts from "typescript";
import type { Consumer, Lab } from "./lab.ts";

/** Copies a folder of `examples/`, and compiles what is in it; returns its name in there. */
export async function copyExample(
  { root }: Lab,
  consumer: Consumer,
  name: string,
): Promise<string> {
  const folder = join(root, "examples", name);
  for await (const { name: file } of Deno.readDir(folder)) {
    if (!file.endsWith(".ts")) continue;
    const text = await Deno.readTextFile(join(folder, file));
    const { outputText } = ts.transpileModule(text, {
      compilerOptions: {
        target: ts.ScriptTarget.ES2022,
        module: ts.ModuleKind.ESNext,
        verbatimModuleSyntax: true,
      },
    });
    await consumer.write({
      [`${name}/${file}`]: text,
      [`${name}/compiled/${basename(file, ".ts")}.js`]: outputText.replaceAll(
        /(from "\.[^"]*)\.ts"/g,
        '$1.js"',
      ),
    });
  }
  return name;
}
