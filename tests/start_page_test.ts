import assert from "node:assert/strict";
import { join } from "node:path";
import { buildPages } from "../scripts/build_pages.ts";
import { START_PAGE } from "../server/http/start_page.ts";

const ROOT = join(import.meta.dirname ?? ".", "..");

Deno.test("buildPages() gives what is committed, twice the same", async () => {
  for (
    const { output, text } of [
      ...await buildPages(ROOT),
      ...await buildPages(ROOT),
    ]
  ) {
    const isCurrent = text === await Deno.readTextFile(join(ROOT, output));
    assert.ok(isCurrent, `${output} is out of date: run deno task build:pages`);
  }
});

Deno.test("START_PAGE is one document that loads nothing else", () => {
  assert.match(START_PAGE, /^<!DOCTYPE html>/);
  const style = START_PAGE.slice(
    START_PAGE.indexOf("<style>"),
    START_PAGE.indexOf("</style>"),
  );
  assert.doesNotMatch(style, /@import|url\(/);
  assert.doesNotMatch(
    START_PAGE,
    /<script[^>]*\ssrc=|<link[^>]*\shref="(?!data:)|<img/i,
  );
  assert.equal(START_PAGE.match(/<\/script>/g)?.length, 1);
});
