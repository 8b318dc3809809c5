/**
 * What the guest books of `examples/` must do, whichever framework they show.
 *
 * @module
 */
import assert from "node:assert/strict";
import { createClient } from "../client/mod.ts";
import type { FreshProcess } from "./_fresh_process.ts";
import { until, within } from "./_waiting.ts";

/** State of the store "Guests". */
interface Guests {
  names: string[];
}

/**
 * Asks a guest book for its HTTP API and for its live store, on the one port that it
 * names, and ends it by SIGTERM while a client is connected.
 */
export async function visitGuests(book: FreshProcess): Promise<void> {
  const [, url = ""] = await book.line(/^Guests at (http:\S+)$/);
  const { host } = new URL(url);
  const read = async () => await (await fetch(url)).json();
  const sign = async (name: string) => {
    const response = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ name }),
    });
    assert.equal(response.status, 201, book.output);
    return (await response.json()).version;
  };
  assert.deepEqual(await read(), { names: [] });
  const client = createClient(`ws://${host}/sync`);
  try {
    const guests = client.subscribe<Guests>("Guests");
    await within(guests.ready(), { describe: () => book.output });
    const version = await sign("Ada");
    await until(() => guests.getState()?.names.includes("Ada"));
    assert.equal(await sign("Grace"), version + 1);
    await until(() => guests.version === version + 1);
    assert.deepEqual(await read(), { names: ["Ada", "Grace"] });
    assert.equal(await refusal(`ws://${host}/elsewhere`), true);
    assert.equal((await book.kill("SIGTERM")).code, 0, book.output);
    await until(() => client.status === "reconnecting", {
      describe: () => client.status,
    });
  } finally {
    client.destroy();
  }
}

/** Whether a socket is refused there, and the connection ended. */
async function refusal(url: string): Promise<boolean> {
  const socket = new WebSocket(url);
  const closed = new Promise<boolean>((resolve) => {
    socket.onopen = () => resolve(false);
    socket.onclose = () => resolve(true);
  });
  const isRefused = await within(closed, {
    describe: () => `an end of ${url}`,
  });
  socket.close();
  return isRefused;
}
