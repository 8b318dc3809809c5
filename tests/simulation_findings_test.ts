/** What long runs of the simulator have found, each by itself. */
import assert from "node:assert/strict";
import { createSimulation, type Server } from "../adapters/testing/mod.ts";
import { HeadwaterError } from "../protocol/errors.ts";

interface Page {
  text: string;
  lines: string[];
}

function define(server: Server): void {
  const page: Page = { text: "", lines: [] };
  server.createStore("Page", page, { history: { versions: 99 } });
}

Deno.test("Server: a write after a close that came before the KV was opened is refused by its code", async () => {
  await using simulation = createSimulation({ seed: 1 });
  simulation.kv.faults.outage = true;
  const started = simulation.launchServer(define);
  started.listening.catch(() => {});
  await simulation.until(started.close());
  const writing = started.server.store<Page>("Page")!.update((draft) => {
    draft.text = "late";
  });
  await assert.rejects(writing, (error) => {
    assert.ok(error instanceof HeadwaterError);
    assert.equal(error.code, "closed");
    assert.equal(error.outcome, "notApplied");
    return true;
  });
});

Deno.test("answerSubscription() sends the state where what was missed is longer", async () => {
  await using simulation = createSimulation({ seed: 1 });
  const { server } = await simulation.startServer(define);
  const person = simulation.createClient();
  const { client } = person;
  const page = client.subscribe<Page>("Page");
  await simulation.until(page.ready());
  const store = server.store<Page>("Page")!;
  await simulation.until(store.update((draft) => void (draft.text = "begin")));
  await simulation.until(() => page.getState()?.text === "begin");

  simulation.network.faults.refuse = 1;
  for (const link of person.links) link.cut();
  for (let version = 0; version < 30; version++) {
    const line = String(version % 10).repeat(20_000);
    await simulation.until(store.update((draft) => {
      draft.lines.push(line);
    }));
    await simulation.until(store.update((draft) => {
      draft.lines.shift();
      draft.text = `end ${version}`;
    }));
  }
  // A tenth of a second for each version that was missed, were they all sent.
  await simulation.until(() => client.status !== "connected");
  Object.assign(simulation.network.faults, { refuse: 0, bytesPerMs: 200 });
  await simulation.until(() => client.status === "connected");
  const isThere = () => page.getState()?.text === "end 29";
  await simulation.until(isThere, { limitMs: 1_000 });
});

Deno.test("Server: a write to a server that cannot open its KV is told so, not what the KV said", async () => {
  await using simulation = createSimulation({ seed: 1 });
  simulation.kv.faults.locked = 1;
  const started = simulation.launchServer(define);
  started.listening.catch(() => {});
  const writing = started.server.store<Page>("Page")!.update((draft) => {
    draft.text = "early";
  });
  await assert.rejects(simulation.until(writing), (error) => {
    assert.ok(error instanceof HeadwaterError);
    assert.equal(error.code, "unavailable");
    assert.equal(error.outcome, "notApplied");
    return true;
  });
  simulation.kv.faults.locked = 0;
});

interface Count {
  count: number;
}

/** A count that clients write. */
function defineCount(server: Server): void {
  server.createStore<Count>("Total", { count: 0 }, { write: true });
}

Deno.test("A write whose answer was lost is in doubt while the KV does not tell what became of it", async () => {
  await using simulation = createSimulation({ seed: 1 });
  const first = await simulation.startServer(defineCount, { name: "first" });
  const person = simulation.createClient({ reconnectDelayMs: 50 });
  const { client } = person;
  simulation.network.faults.latencyMs = [20, 20];
  const total = client.subscribe<Count>("Total");
  await simulation.until(total.ready());
  for (const link of person.links) link.down.stall();
  const written = total.update((draft) => void draft.count++);
  const store = first.server.store<Count>("Total")!;
  await simulation.until(() => store.peek()?.count === 1);
  await simulation.startServer(defineCount, { name: "second" });
  first.crash();
  await simulation.until(() => client.status === "reconnecting");
  await simulation.until(() => client.status === "connected");
  simulation.kv.faults.throwsBefore = 1;
  await assert.rejects(simulation.until(written), (error) => {
    assert.ok(error instanceof HeadwaterError);
    assert.deepEqual([error.code, error.outcome], ["unavailable", "unknown"]);
    return true;
  });
  simulation.kv.faults.throwsBefore = 0;
  await simulation.until(() => total.getState()?.count === 1);
  assert.equal(total.getState(), total.getServerState());
});
