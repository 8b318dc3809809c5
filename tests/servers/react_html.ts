/**
 * Renders the page of the scenarios of React in a process of its own, as a server does:
 * React does not take it well to render the same components both ways at once. Gets what
 * it needs as JSON, and prints the HTML.
 *
 * @module
 */
import { render, type Renderer } from "../_react_html.ts";
import type { States } from "../data/react_page/server_page.tsx";

const [given = ""] = Deno.args;
const { url, states, renderer } = JSON.parse(given) as {
  url: string;
  states: States;
  renderer: Renderer;
};
console.log(await render({ url }, { states, renderer }));
