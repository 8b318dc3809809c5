/** What errors of limits name is what can be set, or said to be fixed. */
import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { LimitError } from "../protocol/errors.ts";
import { DEFAULT_LIMITS, FIXED_LIMITS } from "../protocol/limits.ts";

/** Options of the client and its storage, and none of a server. */
const CLIENT_OPTIONS = ["maxBytes", "pendingRequests"];
/** Where the name is a variable: the codec's, whose type has names of limits alone. */
const VARIABLES = ["limit.name"];

/** The second argument of each `new LimitError()` in the product. */
async function limitsNamed(): Promise<Map<string, string[]>> {
  const root = join(import.meta.dirname!, ".."); // a file has a folder
  const named = new Map<string, string[]>();
  for (const folder of ["protocol", "server", "client", "adapters"]) {
    const files = await readdir(join(root, folder), { recursive: true });
    for (const file of files.filter((name) => name.endsWith(".ts"))) {
      const path = join(folder, file);
      // Generated, of the same sources.
      if (path.endsWith("start_page.ts")) continue;
      const text = await Deno.readTextFile(join(root, path));
      for (const [, name = "nothing"] of text.matchAll(NAMED)) {
        named.set(name, [...named.get(name) ?? [], path]);
      }
      const all = text.split("new LimitError(").length - 1;
      assert.equal([...text.matchAll(NAMED)].length, all, path);
    }
  }
  return named;
}

/** An action, which may have commas in a text, then the name. */
const NAMED =
  /new LimitError\(\s*(?:"[^"]*"|`[^`]*`|[\w.#]+(?:\(\))?),\s*(?:"(?=\w+")|(?=limit\.))([\w.]+)/g;

Deno.test("every limit that an error names can be set, or is said to be fixed", async () => {
  const named = await limitsNamed();
  const unknown = [...named.keys()].filter((name) =>
    !Object.hasOwn(DEFAULT_LIMITS, name) && !FIXED_LIMITS.has(name) &&
    !CLIENT_OPTIONS.includes(name) && !VARIABLES.includes(name)
  );
  assert.deepEqual(unknown, []);
  assert.ok(named.size > 20, `${[...named.keys()]}`);
});

Deno.test("no limit is fixed that nobody names, or that can be set", async () => {
  const named = await limitsNamed();
  for (const name of FIXED_LIMITS) {
    assert.ok(named.has(name), name);
    assert.ok(!Object.hasOwn(DEFAULT_LIMITS, name), name);
  }
});

Deno.test("LimitError says that a limit is fixed", () => {
  assert.equal(
    new LimitError("commit a transaction", "storesPerTransaction", 9, 10)
      .message,
    "Cannot commit a transaction: 10 is over the limit storesPerTransaction of 9, which cannot be changed",
  );
  assert.equal(
    new LimitError("write", "patchBytes", 9, 10).message,
    "Cannot write: 10 is over the limit patchBytes of 9",
  );
});
