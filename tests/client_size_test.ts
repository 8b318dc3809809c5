import assert from "node:assert/strict";
import { join } from "node:path";
import { type Chunk, measureClient } from "../scripts/client_size.ts";

const ROOT = join(import.meta.dirname ?? ".", "..");

/** Gzipped bytes that neither may go over: a little more than there are. */
const MOST_BASE = 17_800;
const MOST_LATE = 23_000;

Deno.test("A page that imports ./client loads little at once, and the rest apart", async () => {
  const { base, late } = await measureClient(ROOT);
  const shown = `${base.gzipped} at once, ${late.gzipped} to write`;
  assert.ok(base.gzipped <= MOST_BASE, shown);
  assert.ok(late.gzipped <= MOST_LATE, shown);
  // What nothing in a chunk needs would make the ceilings worthless.
  assert.ok(base.gzipped > 5_000 && late.gzipped > 5_000, shown);
  assert.ok(
    has(base, "client/client.ts") && has(late, "client/writing/mod.ts"),
  );
  // A module that both need is loaded at once, with all that only one of them uses.
  for (
    const needless of [
      "mutative",
      "client/writing/",
      "protocol/diff.ts",
      "protocol/value.ts",
      "protocol/schema.ts",
      "protocol/patch_codec.ts",
    ]
  ) {
    assert.ok(!has(base, needless), `${needless} is loaded at once`);
  }
  for (const foreign of ["server/", "@msgpack", "protocol/scan.ts", "zod"]) {
    assert.ok(!has(base, foreign) && !has(late, foreign), foreign);
  }
});

function has({ modules }: Chunk, part: string): boolean {
  return modules.some(([path]) => path.includes(part));
}
