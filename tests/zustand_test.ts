import assert from "node:assert/strict";
import { createStore } from "zustand/vanilla";
import {
  bindZustand,
  headwater,
  type Mirror,
  type MirroredStates,
} from "../adapters/zustand.ts";
import { createClient } from "../client/mod.ts";
// What is written shows at once when this is there.
import "../client/writing/mod.ts";
import { startReactServer } from "./_react_server.ts";
import { until, within } from "./_harness.ts";
import type { app } from "./data/react_page/app.ts";

type App = typeof app;

function mirror() {
  return createStore<Mirror<MirroredStates<App, "Counter" | "Room:1">>>(() => ({
    status: "idle",
    stores: {},
  }));
}

Deno.test("bindZustand() mirrors status and stores, and stops when told", async () => {
  await using served = await startReactServer();
  const { server } = served;
  using client = createClient<App>();
  const useStore = mirror();
  const off = bindZustand(useStore, client, { stores: ["Counter"] });
  const offRoom = bindZustand(useStore, client, { stores: ["Room:1"] });
  assert.deepEqual(useStore.getState(), { status: "idle", stores: {} });
  client.connect(served.url);
  await until(() => Object.keys(useStore.getState().stores).length === 2);
  assert.deepEqual(useStore.getState(), {
    status: "connected",
    stores: {
      Counter: { a: 0, b: 0, text: "" },
      "Room:1": { messages: [] },
    },
  });
  const room = useStore.getState().stores["Room:1"];
  await client.call("add", { key: "a", by: 1 });
  assert.equal(useStore.getState().stores.Counter?.a, 1); // read your writes
  // What has not changed is the same object, so that selectors see no change.
  assert.equal(useStore.getState().stores["Room:1"], room);

  off();
  await client.call("add", { key: "a", by: 1 });
  assert.equal(useStore.getState().stores.Counter?.a, 1);
  const counter = server.store("Counter");
  await until(() => counter?.subscriberCount() === 0);
  offRoom();
  client.destroy();
  assert.equal(useStore.getState().status, "connected"); // nobody tells it any more
});

Deno.test("bindZustand() shows each status as it comes, to the end", async () => {
  await using served = await startReactServer();
  using client = createClient<App>(served.url, { reconnectDelayMs: 1 });
  const useStore = mirror();
  const statuses: string[] = [];
  useStore.subscribe(({ status }) => {
    if (statuses.at(-1) !== status) statuses.push(status);
  });
  bindZustand(useStore, client, { stores: [] });
  assert.equal(useStore.getState().status, "connecting"); // at once
  await until(() => statuses.at(-1) === "connected");
  await served.server.close();
  await until(() => statuses.at(-1) === "reconnecting");
  client.destroy();
  await until(() => statuses.at(-1) === "closed");
  assert.deepEqual(statuses, [
    "connecting",
    "connected",
    "reconnecting",
    "closed",
  ]);
});

Deno.test("bindZustand() subscribes to nothing where a name is none", async () => {
  await using served = await startReactServer();
  using client = createClient(served.url);
  const useStore = createStore<Mirror<Record<string, object>>>(() => ({
    status: "idle",
    stores: {},
  }));
  assert.throws(
    () => bindZustand(useStore, client, { stores: ["Counter", ""] }),
    { code: "bad_name" },
  );
  await client.ready();
  await client.call("counts");
  assert.equal(served.server.store("Counter")?.subscriberCount(), 0);
});

Deno.test("headwater() holds a store and writes to it", async () => {
  await using served = await startReactServer();
  using client = createClient<App>(served.url);
  const useCounter = createStore(headwater(client, "Counter"));
  assert.equal(useCounter.getState().data, undefined);
  await until(() => useCounter.getState().data);
  const { update, unsubscribe } = useCounter.getState();
  const written = update((draft) => void (draft.text = "a"));
  assert.equal(useCounter.getState().data?.text, "a"); // at once
  await within(written, { describe: () => "the write" });
  unsubscribe();
  await client.call("add", { key: "a", by: 1 });
  assert.equal(useCounter.getState().data?.a, 0);
  assert.equal(useCounter.getState().error, undefined);
});

Deno.test("headwater() tells why there is no state, or no other", async () => {
  await using served = await startReactServer();
  using client = createClient<App>(served.url);
  const useSecret = createStore(headwater(client, "Secret"));
  const useRoom = createStore(headwater(client, "Room:1"));
  await until(() => useSecret.getState().error && useRoom.getState().data);
  const codeOf = (error: unknown) => (error as { code?: string }).code;
  assert.equal(codeOf(useSecret.getState().error), "forbidden");
  await client.call("deleteRoom", "1");
  await until(() => useRoom.getState().error);
  assert.equal(codeOf(useRoom.getState().error), "store_deleted");
  assert.deepEqual(useRoom.getState().data, { messages: [] });
});
