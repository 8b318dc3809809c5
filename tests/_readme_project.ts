/**
 * A project as its owner has it after `deno add jsr:@headwater/sync`, for what the README
 * says. The package is linked: what it exports, and its own imports, are those of the
 * checkout, as they would be those of a published version.
 *
 * @module
 */
import { join } from "node:path";
import { type FreshProcess, startProcess } from "./_fresh_process.ts";
import { tempDir } from "./_harness.ts";
import { within } from "./_waiting.ts";

const ROOT = join(import.meta.dirname ?? ".", "..");

/** See the module's documentation. */
export interface ReadmeProject extends AsyncDisposable {
  /** Its folder. */
  readonly path: string;
  /** Writes a file. */
  write(name: string, text: string): Promise<void>;
  /** Starts `deno` in there. */
  deno(args: string, env?: Record<string, string>): FreshProcess;
  /** Runs `deno` in there to its end, and returns what it printed. */
  run(args: string): Promise<string>;
}

/** Makes the folder, with these packages beside ours. */
export async function readmeProject(
  packages: readonly string[] = [],
): Promise<ReadmeProject> {
  const folder = await tempDir();
  const { version, imports } = JSON.parse(
    await Deno.readTextFile(join(ROOT, "deno.json")),
  );
  const write = (name: string, text: string) =>
    Deno.writeTextFile(join(folder.path, name), text);
  await write(
    "deno.json",
    JSON.stringify({
      imports: {
        "@headwater/sync": `jsr:@headwater/sync@^${version}`,
        ...Object.fromEntries(packages.map((name) => [name, imports[name]])),
      },
      links: [ROOT],
    }),
  );
  const deno = (args: string, env: Record<string, string> = {}) =>
    startProcess(Deno.execPath(), {
      args: args.split(" "),
      cwd: folder.path,
      env,
    });
  return {
    path: folder.path,
    write,
    deno,
    async run(args) {
      await using process = deno(args);
      const { code } = await within(process.exited, {
        ms: 60_000,
        describe: () => `the end of deno ${args}\n${process.output}`,
      });
      const output = await process.whole();
      if (code === 0) return output;
      throw new Error(`deno ${args} ended with ${code}:\n${process.output}`);
    },
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}
