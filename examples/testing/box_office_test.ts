/**
 * Tests the box office on servers that crash, over a network and a KV that fail.
 *
 * Run it by `deno test examples/testing/`; it needs no permission.
 *
 * @module
 */
import {
  createSimulation,
  type SimulatedClient,
} from "@headwater/sync/testing";
import assert from "node:assert/strict";
import { type Booking, defineBoxOffice, type Show } from "./box_office.ts";

const BOOKING = { show: "hamlet", seat: "A1" };
/** A connection that has died silently is noticed within twice that, long before a call times out. */
const heartbeatMs = 2_000;

Deno.test("seats.book sells a seat to one of those who want it at once, whatever fails", async () => {
  for (let seed = 1; seed <= 50; seed++) {
    await sellOnce(seed).catch((cause) => {
      throw new Error(`Seed ${seed}: ${cause.message}`, { cause });
    });
  }
});

Deno.test("seats.book sells a seat to who asks for it in a tunnel", async () => {
  await using simulation = createSimulation();
  await simulation.startServer(defineBoxOffice, { heartbeatMs });
  const ada = simulation.createClient();
  await simulation.until(ada.client.ready());
  for (const link of ada.links) link.cutSilently();
  assert.equal(await simulation.until(book(ada, "Ada")), "sold");
});

/** Two servers, two buyers, one seat, and a crash while they wait for it. */
async function sellOnce(seed: number): Promise<void> {
  await using simulation = createSimulation({ seed });
  const { random, network, kv } = simulation;
  network.faults.latencyMs = [1, 80];
  kv.faults.latencyMs = [1, 20];
  for (const name of ["north", "south"]) {
    const options = { name, heartbeatMs, isLocal: false };
    await simulation.startServer(defineBoxOffice, options);
  }
  const buyers = ["Ada", "Bob"].map((name) => {
    const running = simulation.createClient({ reconnectDelayMs: 100 });
    const show = running.client.subscribe<Show>("Show:hamlet");
    return { name, running, show };
  });
  await simulation.until(Promise.all(buyers.map(({ show }) => show.ready())));

  // Some commits seem to fail, and take effect later.
  kv.faults.landsLate = { chance: 0.2, ms: [1, 500] };
  const asking = buyers.map(({ name, running }) => book(running, name));
  await simulation.advance(random.integer(0, 200));
  random.pick(simulation.servers).crash();
  const answers = await simulation.until(Promise.all(asking));

  assert.deepEqual(answers.toSorted(), ["refused", "sold"]);
  const holder = buyers[answers.indexOf("sold")]?.name;
  simulation.heal();
  await simulation.until(() =>
    buyers.every(({ show }) => show.getState()?.seats.A1 === holder)
  );
}

async function book(
  { client }: SimulatedClient,
  name: string,
): Promise<"sold" | "refused"> {
  const booking: Booking = { ...BOOKING, name };
  try {
    await client.call("seats.book", booking);
    return "sold";
  } catch (error) {
    assert.match(String(error), /A1 is sold to/);
    return "refused";
  }
}
