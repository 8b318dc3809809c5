/** A strict consumer of the hooks and of the Zustand binding: compiled, not run. */
import { createClient } from "@headwater/sync/client";
import { HeadwaterProvider, useCall, useStore } from "@headwater/sync/react";
import { bindZustand, type Mirror } from "@headwater/sync/zustand";
import { createElement, type ReactNode } from "react";
import { createStore } from "zustand/vanilla";

const client = createClient("ws://localhost:4400");

function Counter(): ReactNode {
  const { data } = useStore<{ count: number }>("Counter");
  const add = useCall("add");
  const count: number | undefined = data?.count;
  return createElement("button", { disabled: add.isPending }, count);
}

/** The page. */
export function Page(): ReactNode {
  return createElement(HeadwaterProvider, { client }, createElement(Counter));
}

interface States {
  Counter?: { count: number };
}
const store = createStore<Mirror<States>>(() => ({
  status: "idle",
  stores: {},
}));
const undo: () => void = bindZustand(store, client, { stores: ["Counter"] });
undo();
