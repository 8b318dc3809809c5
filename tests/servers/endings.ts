/**
 * A server for `deno serve` whose functions take their time, for tests of its end.
 *
 * @module
 */
import "./deploy_kv.ts";
import { serve } from "../../adapters/serve.ts";
import { createServer } from "../../server/mod.ts";

const kv = Deno.env.get("APP_KV");
const server = createServer(kv ? { kv } : {});
const entries = server.createStore("Entries", { items: [] as string[] });

server.handle("slow", async ({ label }: { label: string }) => {
  console.log(`${label} runs`);
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  const { value } = await entries.update((draft) => {
    draft.items.push(label);
    return draft.items.length;
  });
  return value;
});

server.handle("endless", async () => {
  console.log("endless runs");
  await new Promise(() => {});
});

server.on("unsubscribe", async (_name, clientId) => {
  await new Promise((resolve) => setTimeout(resolve, 500));
  console.log(`${clientId} has left`);
});

export default serve(server);
