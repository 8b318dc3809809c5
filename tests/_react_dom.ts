/**
 * A page of jsdom for the tests of React. Import it before React's renderer, which looks
 * at the globals as it is loaded.
 *
 * @module
 */
import { JSDOM } from "jsdom";

const dom = new JSDOM("<!doctype html><body></body>", {
  url: "http://localhost/",
});
// By hand: a package that registers every global breaks the test runner.
Object.assign(globalThis, {
  window: dom.window,
  document: dom.window.document,
});
