import assert from "node:assert/strict";
import { join } from "node:path";
import { buildDeclarations } from "../scripts/npm/declarations.ts";
import { withoutIgnored } from "../scripts/npm/ignored_members.ts";
import { tempDir } from "./_harness.ts";

Deno.test("withoutIgnored() takes out what is for the sources alone, with the imports that it needs", () => {
  const shown = withoutIgnored(`import type { Ports } from "./ports.ts";
import { type Kept, Gone } from "./other.ts";
export declare class Server {
    #private;
    /**
     * Made by createServer.
     *
     * @ignore
     */
    constructor(ports: Ports, gone: Gone);
    /** @ignore */
    protected readonly definition: Ports;
    /** It stays. */
    kept(): Kept;
}
`);
  assert.equal(
    shown,
    `
import type { Kept } from "./other.ts";
export declare class Server {
    #private;
    protected constructor();
    /** It stays. */
    kept(): Kept;
}
`,
  );
});

Deno.test("withoutIgnored() leaves a method that TypeScript has declared as a property, too", () => {
  const shown = withoutIgnored(`export declare class Server {
    [Symbol.asyncDispose]: () => Promise<void>;
    [Symbol.asyncDispose](): Promise<void>;
}
`);
  assert.equal(shown.match(/asyncDispose/g)?.length, 1);
  assert.match(shown, /\[Symbol\.asyncDispose\]\(\): Promise<void>;/);
});

Deno.test("buildDeclarations() follows what is shown, by the names of the package", async () => {
  await using folder = await tempDir();
  const write = (name: string, text: string) =>
    Deno.writeTextFile(join(folder.path, name), text);
  await write(
    "mod.ts",
    `import type { A } from "./a.ts";\nimport { hidden } from "./hidden.ts";
export function f(a: A): void { hidden(a); }\n`,
  );
  await write("a.ts", "export interface A { b: import('./b.ts').B }\n");
  await write("b.ts", "export type B = 1;\n");
  await write("hidden.ts", "export function hidden(_: unknown): void {}\n");
  const built = await buildDeclarations(folder.path, ["mod.ts"]);
  assert.deepEqual(built.map(({ path }) => path).sort(), [
    "types/a.d.ts",
    "types/b.d.ts",
    "types/mod.d.ts",
  ]);
  assert.match(built[0]?.text ?? "", /from "\.\/a\.js"/);
});
