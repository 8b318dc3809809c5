/**
 * How much each entry point of the npm package makes its user load.
 *
 * @module
 */
import { gzipSync } from "node:zlib";
import type { BuiltModule } from "./javascript.ts";
import { type Entry, loadedWith } from "./manifest.ts";

/** What is loaded with one entry point, without packages of others. */
export interface Size {
  readonly name: string;
  readonly bytes: number;
  readonly gzipped: number;
}

/** Measures each entry point with what it shares with others. */
export function measure(
  entries: readonly Entry[],
  modules: readonly BuiltModule[],
): Size[] {
  return entries.map(({ name, module }) => {
    const text = loadedWith(module, modules).map(({ text }) => text).join("\n");
    const bytes = new TextEncoder().encode(text);
    return { name, bytes: bytes.length, gzipped: gzipSync(bytes).length };
  });
}

/** The sizes, for people. */
export function toSizeTable(sizes: readonly Size[]): string {
  const rows = sizes.map(({ name, bytes, gzipped }) =>
    `${name.padEnd(14)}${inKilobytes(bytes)}${inKilobytes(gzipped)}`
  );
  return ["entry               bytes     gzipped", ...rows].join("\n");
}

/** Bytes in kB, right-aligned in 12 columns. */
export function inKilobytes(bytes: number): string {
  return `${(bytes / 1000).toFixed(1)} kB`.padStart(12);
}
