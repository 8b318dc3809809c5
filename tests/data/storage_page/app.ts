/**
 * The contract of the page that keeps a list.
 *
 * @module
 */
import { defineApp } from "../../../protocol/contract.ts";

interface List {
  items: string[];
}

/** Made by both ends. */
export const listApp = defineApp({
  stores: { List: { initial: { items: [] } as List } },
  mutators: {
    add: {
      store: "List",
      run: (draft: List, item: string) => {
        draft.items.push(item);
      },
    },
  },
});
