/**
 * The blocks of the README, which are run as they stand there.
 *
 * @module
 */
import { join } from "node:path";

/** Where the README is. */
const README = join(import.meta.dirname ?? ".", "../README.md");

/**
 * The text of the one block that is fenced with `info`, such as `"ts server"`.
 *
 * @throws {Error} if there is none, or another one.
 */
export async function readmeBlock(info: string): Promise<string> {
  const text = await Deno.readTextFile(README);
  const blocks = [...text.matchAll(/^```(.+)\n([\s\S]*?)^```$/gm)].filter((
    [, label],
  ) => label === info);
  const [first] = blocks;
  if (!first || blocks.length > 1) {
    throw new Error(
      `The README has ${blocks.length} blocks "${info}", not one`,
    );
  }
  return first[2] ?? "";
}

/**
 * Replaces something in a block that is for readers, such as a port.
 *
 * @throws {Error} if the block does not have it.
 */
export function replaced(text: string, from: string, to: string): string {
  if (!text.includes(from)) {
    throw new Error(`"${from}" is not in the block:\n${text}`);
  }
  return text.replaceAll(from, to);
}
