import { mount, unmount } from "svelte";
// @ts-types="./counter_svelte.d.ts"
import Counter from "./counter.svelte";
import type { Panel } from "./panel.ts";

/** In Svelte. */
export const sveltePanel: Panel = (client, target) => {
  const counter = mount(Counter, { target, props: { client } });
  return () => void unmount(counter);
};
