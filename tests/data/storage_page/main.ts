/**
 * A list that a browser keeps over a reload, and what a test asks of it by
 * `globalThis.list`.
 *
 * @module
 */
import { createClient } from "@headwater/sync/client";
import { indexedDbStorage } from "@headwater/sync/indexeddb";
import { storageContract } from "../../_storage_contract.ts";
import { listApp } from "./app.ts";

const storage = indexedDbStorage({ name: "list" });
const errors: string[] = [];
const parameters = new URLSearchParams(location.search);

const client = createClient<typeof listApp>(undefined, {
  app: listApp,
  storage,
  reconnectDelayMs: 20,
  reconnectMaxMs: 50,
});
client.on("error", ({ message }) => void errors.push(message));
const element = document.getElementById("items");
const handle = client.subscribe("List", ({ items }) => {
  element?.replaceChildren(...items.map((item) => {
    const li = document.createElement("li");
    li.textContent = item;
    return li;
  }));
});
if (parameters.has("port")) {
  client.connect(`ws://127.0.0.1:${parameters.get("port")}`);
}

/** What the test uses. */
const list = {
  push: (item: string) =>
    void handle.update(({ items }) => void items.push(item)).catch(() => {}),
  add: (item: string) => void client.mutate("add", item).catch(() => {}),
  status: () => ({
    items: handle.getState()?.items,
    isStale: handle.isStale,
    unacked: client.unackedCount,
    status: client.status,
    clientId: client.clientId,
    errors,
  }),
  kept: async () =>
    [...(await storage.load()).keys()].filter((key) => key.startsWith("write:"))
      .length,
  /** Runs the suite, each claim in a database of its own; returns what does not hold. */
  runContract: async () => {
    const faults: string[] = [];
    for (const [at, [claim, run]] of storageContract.entries()) {
      const name = `contract ${at}`;
      await run(() => indexedDbStorage({ name })).catch((error) =>
        faults.push(`${claim}: ${error}`)
      );
    }
    return { faults, claims: storageContract.length };
  },
  /** The database is deleted while it is open. */
  deleteDatabase: () =>
    new Promise<string>((resolve) => {
      const request = indexedDB.deleteDatabase("list");
      request.onsuccess = () => resolve("deleted");
      request.onblocked = () => resolve("blocked");
      request.onerror = () => resolve("failed");
    }),
};

/** What a test in the page sees. */
export type ListPage = typeof list;

Object.assign(globalThis, { list });
