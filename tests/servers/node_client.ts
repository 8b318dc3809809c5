/**
 * A client on Node with the sockets of `ws`: bundled by a test, and run by Node.
 * It calls, loses its connection, calls on, and prints what it has seen.
 *
 * @module
 */
import process from "node:process";
// @deno-types="./ws.d.ts"
import { WebSocket } from "ws";
import { createClient } from "../../client/mod.ts";
import type { Entries } from "../_app.ts";

const [, , url = ""] = process.argv;
const client = createClient(url, {
  WebSocket,
  reconnectDelayMs: 10,
  reconnectMaxMs: 100,
});
client.on("disconnected", () => console.log("disconnected"));
client.on("reconnecting", ({ attempt }) => {
  // Two attempts have failed by then.
  if (attempt === 3) console.log("refused");
});
client.on("error", (error) => console.log(`error ${error.message}`));
const entries = client.subscribe<Entries>("Entries");
await entries.ready();
console.log(`ready ${process.version} ${entries.version}`);
console.log(
  `first ${await client.call<number>("entries.add", { label: "from node" })}`,
);

// From here on the test cuts the connection and changes the state.
await new Promise<void>((resolve) => {
  const off = client.on("disconnected", () => {
    off();
    // Made offline: it is sent when there is a connection again.
    client.call<number>("entries.add", { label: "offline" }).then(
      (position) => {
        console.log(`offline ${position}`);
        resolve();
      },
    );
  });
});
console.log(`state ${JSON.stringify(entries.getState()?.items)}`);
console.log(`unacked ${client.unackedCount} ${client.status}`);
client.destroy();
console.log("destroyed");
