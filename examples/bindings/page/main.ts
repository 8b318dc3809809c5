/** One client and one store, shown by four frameworks. */
import { createClient } from "@headwater/sync/client";
import { byId } from "../../elements.ts";
import type { Panel } from "./panel.ts";
import { preactPanel } from "./preact_panel.ts";
import { solidPanel } from "./solid_panel.ts";
import { sveltePanel } from "./svelte_panel.ts";
import { vuePanel } from "./vue_panel.ts";

const PANELS: Readonly<Record<string, Panel>> = {
  vue: vuePanel,
  svelte: sveltePanel,
  solid: solidPanel,
  preact: preactPanel,
};

const client = createClient(location.origin);
for (const [name, panel] of Object.entries(PANELS)) {
  let takeOff: (() => void) | undefined;
  const toggle = byId<HTMLInputElement>(`${name}-shown`);
  const show = () => {
    takeOff?.();
    takeOff = toggle.checked ? panel(client, byId(name)) : undefined;
  };
  toggle.addEventListener("change", show);
  show();
}
