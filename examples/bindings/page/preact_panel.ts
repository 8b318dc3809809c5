import { computed } from "@preact/signals";
import { h, render } from "preact";
import { storeSignal } from "../preact.ts";
import type { Counter, Panel } from "./panel.ts";

/** In Preact. */
export const preactPanel: Panel = (client, element) => {
  const counter = storeSignal<Counter>(client, "Counter");
  const count = computed(() => counter.value?.count ?? "…");
  const add = () => void client.call("add");
  render([
    h("output", null, count),
    h("button", { onClick: add }, "+1"),
  ], element);
  return () => render(null, element);
};
