import { createApp, defineComponent, h } from "vue";
import { useStore } from "../vue.ts";
import type { Counter, Panel } from "./panel.ts";

/** In Vue. */
export const vuePanel: Panel = (client, element) => {
  const app = createApp(defineComponent(() => {
    const counter = useStore<Counter>(client, "Counter");
    const add = () => void client.call("add");
    return () => [
      h("output", counter.value?.count ?? "…"),
      h("button", { onClick: add }, "+1"),
    ];
  }));
  app.mount(element);
  return () => app.unmount();
};
