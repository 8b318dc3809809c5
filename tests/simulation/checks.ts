/**
 * What must be true when everything has healed and come to rest.
 *
 * @module
 */
import { isDeepStrictEqual } from "node:util";
import type { KvHandle } from "../../adapters/testing/simulated_kv.ts";
import { readStates } from "../../server/log/history.ts";
import type { StoreId } from "../../server/log/keys.ts";
import {
  readHead,
  readSince,
  type ReadStore,
  readStore,
} from "../../server/log/reader.ts";
import { type Ledger, STORES } from "./application.ts";
import { Breach } from "./breach.ts";
import type { World } from "./world.ts";

/** How long everything may take to come to rest. */
const REST_MS = 120_000;
/** Longer than anything of the KV is late. */
const LATE_MS = 15_000;
/** Longer than a watch takes to be begun again. */
const REWATCH_MS = 1_500;
/** How often it is looked whether all is done. */
const LOOK_MS = 50;
/** How long a call may take, and its effect to be shown by everybody, where all is well. */
const ANSWER_MS = 15_000;
const SHOW_MS = 1_000;

/** Heals what can be healed, and waits until everybody shows what is true. */
export async function comeToRest(
  world: World,
  limitMs: number = REST_MS,
): Promise<void> {
  const { simulation } = world;
  world.note("everything heals");
  world.heal();
  for (const server of simulation.servers) server.onKvOperation = undefined;
  // What a proxy has lost on a connection that goes on is noticed with the next change only.
  if (world.plan.isBroken) {
    for (const link of simulation.network.links) link.cut();
  }
  world.backups.touchAll();
  await inTime(world, () => isAtRest(world), limitMs);
  world.check();
}

/** Lets everything come to rest, and compares all that there is with the truth. */
export async function settleAndCheck(world: World): Promise<void> {
  const { truth, writes } = world;
  await comeToRest(world);
  await lastRound(world);
  writes.check(truth, world);
  // Where the KV was set back, what was written twice is where it was written last.
  for (const own of world.isRestored ? [] : world.owns) {
    own.checkOrder();
    own.checkSending();
  }
  for (const store of STORES) await checkStored(world, store);
}

/** Nothing is wrong any more: whatever is asked for is done, and soon shown by all. */
async function lastRound(world: World): Promise<void> {
  const { people, plan, random, simulation } = world;
  // What was on its way when everything healed may still be late.
  const { kv } = plan.trouble;
  await simulation.advance(kv > 0 ? LATE_MS : REWATCH_MS);
  world.note("the last round");
  world.makeWell();
  for (const person of people) {
    for (const store of plan.stores) {
      if (!world.access.may(person, "read", store)) continue;
      world.clients.look(person, store);
      world.caller.call(person, "add", [store], { isOptimistic: true });
      world.caller.call(person, "add", [store]);
      if (!world.access.may(person, "write", store)) continue;
      for (const kind of ["add", "own", "insert"] as const) {
        world.client.write(person, store, { kind });
      }
    }
  }
  // Whatever is sent again is answered all the same, as if nothing had happened.
  await simulation.advance(random.integer(0, 60));
  for (const { running } of people) {
    for (const link of running.links) {
      // What the sessions are proven by may have been set back, under servers that know it.
      if (!world.isRestored && random.chance(0.5)) link.cut();
    }
  }
  // Until then they believe that they are connected.
  await simulation.advance(plan.latencyMs[1] + 1);
  const areAnswered = () =>
    people.every(({ pending, running: { client } }) =>
      pending === 0 && client.status === "connected"
    );
  await inTime(world, areAnswered, ANSWER_MS);
  await inTime(world, () => isAtRest(world), SHOW_MS);
  world.check();
  for (const { observers } of people) {
    for (const { store, handle } of observers.values()) {
      if (handle.hasData()) continue;
      throw new Breach(`A client shows nothing of ${store}`);
    }
  }
}

async function inTime(
  world: World,
  isDone: () => boolean,
  limitMs: number,
): Promise<void> {
  // Looked at now and then: at each event it would be half of all work.
  for (let waitedMs = 0; waitedMs <= limitMs; waitedMs += LOOK_MS) {
    // One that could not open its KV, or was closing, has ended meanwhile.
    world.launchAll();
    world.access.retry();
    if (isDone()) return;
    await world.simulation.advance(LOOK_MS);
    world.check();
  }
  const left = restless(world).join("; ");
  throw new Breach(`It is not so within ${limitMs} ms: ${left}`);
}

function isAtRest(world: World): boolean {
  return restless(world, true).length === 0;
}

/** What is not as it should be; only the first where that is enough. */
function restless(world: World, isFirstEnough = false): string[] {
  const found: string[] = [];
  for (const what of causes(world)) {
    found.push(what);
    if (isFirstEnough) break;
  }
  return found;
}

function* causes(world: World): Generator<string> {
  const { simulation, truth, people, plan, access } = world;
  const { elapsedMs } = simulation.clock;
  if (access.isUnsettled) yield "not everybody has heeded a revocation";
  for (const person of people) {
    const { name, running: { client }, observers, pending } = person;
    if (client.status !== "connected") yield `${name} is ${client.status}`;
    if (pending > 0) yield `${name} waits for ${pending} answers`;
    if (client.unackedCount > 0) yield `${name} has calls that nobody awaits`;
    for (const { store, handle } of observers.values()) {
      if (access.lastMs(person, "read", store) < elapsedMs) {
        yield `${name} still follows ${store}`;
      }
      const newest = truth.of(store).newest;
      if (handle.isStale) yield `${name} is stale in ${store}`;
      else if (
        handle.version !== newest?.moment.version ||
        !isDeepStrictEqual(handle.getState(), newest?.state)
      ) {
        yield `${name} shows ${store} at ${handle.version}, the KV has ${newest?.moment.version}`;
      } else if (handle.getState() !== handle.getServerState()) {
        yield `${name} shows ${store} with something of its own`;
      }
    }
  }
  if (simulation.servers.length < plan.servers) yield "a server is not up";
  for (const running of simulation.servers) {
    const { name, server } = running;
    const updates = world.caller.updatesOf(running);
    if (updates > 0) yield `${name} has said nothing of ${updates} writes`;
    for (const store of STORES) {
      // One of STORES, which are all defined.
      const state = server.store<Ledger>(store)!.peek();
      const newest = truth.of(store).newest;
      if (state !== undefined && !isDeepStrictEqual(state, newest?.state)) {
        yield `${name} has another ${store}: ${
          JSON.stringify(state).slice(0, 200)
        }`;
      }
    }
  }
}

/** What a server that starts now would read. */
async function checkStored(world: World, name: string): Promise<void> {
  const { simulation, truth } = world;
  const kv = simulation.kv.open();
  const id = { namespace: "default", name };
  const read = await simulation.until(readStore(kv, id));
  const newest = truth.of(name).newest;
  // It may have ended by its time while it was read.
  if (read && read.head.epoch !== newest?.moment.epoch) return kv.close();
  if (!isDeepStrictEqual(read?.state, newest?.state)) {
    throw new Breach(`What is stored of ${name} is not what it is`);
  }
  if (read && newest) {
    await checkLog(world, { kv, id, read });
    await checkPast(world, { kv, id, read });
  }
  kv.close();
}

/** Every version from the floor on can be told, and is what it was. */
async function checkPast(
  { simulation, truth }: World,
  { kv, id, read }: { kv: KvHandle; id: StoreId; read: ReadStore },
): Promise<void> {
  const { epoch, floor, version: newest } = read.head;
  const oldest = Math.max(1, floor);
  const versions = Array.from(
    { length: newest - oldest + 1 },
    (_, index) => oldest + index,
  );
  let states: readonly unknown[] | undefined;
  try {
    states = await simulation.until(readStates(kv, id, versions));
  } catch (error) {
    const now = await simulation.until(readHead(kv, id));
    if (now && now.head.epoch === epoch && now.head.floor === floor) {
      throw error;
    }
    return;
  }
  for (const [index, state] of states?.entries() ?? []) {
    const moments = truth.of(id.name).momentsOf(versions[index]!, state); // one for each
    if (!moments.some((moment) => moment.epoch === epoch)) {
      throw new Breach(
        `The past of ${id.name} at ${versions[index]} is not what it was`,
      );
    }
  }
}

/** The log must reach down to its floor, unless that has just been raised. */
async function checkLog(
  { simulation }: World,
  { kv, id, read }: { kv: KvHandle; id: StoreId; read: ReadStore },
): Promise<void> {
  const { floor, version } = read.head;
  const entries = await simulation.until(readSince(kv, id, read, floor));
  if (!entries) {
    const now = await simulation.until(readHead(kv, id));
    if (now && now.head.floor > floor) return;
  }
  const from = entries?.[0]?.from ?? version;
  if (!entries || from > floor) {
    throw new Breach(
      `The log of ${id.name} begins at ${from}, above its floor ${floor}`,
    );
  }
}
