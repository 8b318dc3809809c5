/** That examples use what the package shows, and nothing else of the sources. */
import { join } from "node:path";
import ts from "typescript";
import type { Check } from "../check.ts";

/** Examples that run on Node, or in browsers by a bundler. */
const FOLDERS = ["todo", "express", "fastify", "hono"];

/** Looks at what the examples import. */
export const publicEntries: Check = {
  name: "entries",
  claim: "examples for Node import only what the package exports",
  async run({ root }) {
    const { exports } = JSON.parse(
      await Deno.readTextFile(join(root, "npm/package.json")),
    ) as { exports: Record<string, unknown> };
    const faults: string[] = [];
    let imports = 0;
    for (const folder of FOLDERS) {
      const path = join(root, "examples", folder);
      for await (const { name } of Deno.readDir(path)) {
        if (!/\.tsx?$/.test(name)) continue;
        const text = await Deno.readTextFile(join(path, name));
        for (const { fileName } of ts.preProcessFile(text).importedFiles) {
          const entry = fileName.replace(/^@headwater\/sync/, ".");
          const isOutside = fileName.startsWith("../");
          const isHidden = entry !== fileName && !(entry in exports);
          if (entry !== fileName) imports++;
          if (isOutside || isHidden) {
            faults.push(`examples/${folder}/${name} imports "${fileName}"`);
          }
        }
      }
    }
    if (faults.length > 0) throw new Error(faults.join("\n"));
    return `${imports} imports in ${FOLDERS.length} examples`;
  },
};
