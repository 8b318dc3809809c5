import html from "solid-js/html";
import { render } from "solid-js/web";
import { createStoreSignal } from "../solid.ts";
import type { Counter, Panel } from "./panel.ts";

/** In Solid; its JSX needs a compiler, this does not. */
export const solidPanel: Panel = (client, element) =>
  render(() => {
    const counter = createStoreSignal<Counter>(client, "Counter");
    const add = () => void client.call("add");
    return html`
      <output>${() => counter()?.count ?? "…"}</output>
      <button onClick=${add}>+1</button>
    `;
  }, element);
