/** The network of the test kit: each of its knobs and each of its cuts does what it says. */
import assert from "node:assert/strict";
import type { Link } from "../adapters/testing/link.ts";
import { NetworkOfNames } from "../adapters/testing/simulated_network.ts";
import { SeededRandom, VirtualClock } from "@headwater/sync/testing";

/** One connection, and all that its ends were told: what, and at which millisecond. */
interface Pair {
  readonly clock: VirtualClock;
  readonly network: NetworkOfNames;
  readonly link: Link;
  /** A message of one byte, or of `length` bytes that begin with it. */
  sendUp(byte: number, length?: number): void;
  sendDown(byte: number, length?: number): void;
  closeDown(code: number): void;
  /** What has arrived since this was last asked. */
  take(): { up: string[]; down: string[] };
}

function newNetwork(
  seed = 1,
): { clock: VirtualClock; network: NetworkOfNames } {
  const clock = new VirtualClock();
  return { clock, network: new NetworkOfNames(clock, new SeededRandom(seed)) };
}

function messageOf(byte: number, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  bytes[0] = byte;
  return bytes;
}

/** Connects on a network without faults. */
async function connect(seed = 1): Promise<Pair> {
  const { clock, network } = newNetwork(seed);
  let up: string[] = [];
  let down: string[] = [];
  const note = (what: unknown) => `${what} at ${clock.elapsedMs}`;
  const accepted = Promise.withResolvers<{
    send(bytes: Uint8Array<ArrayBuffer>): unknown;
    close(code: number, reason: string): void;
  }>();
  await network.listen(
    "server",
    clock.createHost(),
    (request) =>
      network.upgrade(request, (socket) => {
        accepted.resolve(socket);
        return {
          message: (data) => void up.push(note(data[0])),
          closed: () => void up.push(note("closed")),
        };
      }),
  );
  const client = new (network.socketClass(clock.createHost()))(
    "ws://server/",
    "",
  );
  let isOpen = false;
  client.onopen = () => void (isOpen = true);
  client.onmessage = ({ data }: { data: Uint8Array }) =>
    void down.push(note(data[0]));
  client.onclose = ({ code }: { code: number }) => void down.push(note(code));
  await clock.until(() => isOpen, 0);
  const server = await accepted.promise;
  const [link] = network.links;
  assert.ok(link);
  return {
    clock,
    network,
    link,
    sendUp: (byte, length = 1) => client.send(messageOf(byte, length)),
    sendDown: (byte, length = 1) => void server.send(messageOf(byte, length)),
    closeDown: (code) => server.close(code, ""),
    take() {
      // A server may be told twice that a socket has gone.
      const taken = { up: [...new Set(up)], down };
      [up, down] = [[], []];
      return taken;
    },
  };
}

Deno.test("NetworkFaults.latencyMs: a message travels so long, either way", async () => {
  const { clock, network, sendUp, sendDown, take } = await connect();
  network.faults.latencyMs = [30, 30];
  sendUp(1);
  sendDown(2);
  await clock.advance(29);
  assert.deepEqual(take(), { up: [], down: [] });
  await clock.advance(1);
  assert.deepEqual(take(), { up: ["1 at 30"], down: ["2 at 30"] });
});

Deno.test("NetworkFaults.latencyMs: a range is drawn for each message, none overtakes another", async () => {
  const { clock, network, sendUp, sendDown, take } = await connect();
  network.faults.latencyMs = [10, 90];
  const times = { up: new Set<number>(), down: new Set<number>() };
  for (let round = 0; round < 20; round++) {
    const sentMs = clock.elapsedMs;
    for (const byte of [1, 2, 3]) {
      sendUp(byte);
      sendDown(byte);
    }
    await clock.advance(100);
    for (const [way, arrived] of Object.entries(take())) {
      assert.deepEqual(arrived.map((text) => text[0]), ["1", "2", "3"]);
      const ms = Number(arrived[0]!.split(" ")[2]) - sentMs; // three came
      assert.ok(ms >= 10 && ms <= 90, `${ms} ms`);
      times[way as "up" | "down"].add(ms); // the two that there are
    }
  }
  assert.ok(times.up.size > 5 && times.down.size > 5, "hardly any chance");
});

Deno.test("NetworkFaults.refuse: an attempt to connect fails, and no server hears of it", async () => {
  const { clock, network } = newNetwork();
  let accepted = 0;
  await network.listen(
    "server",
    clock.createHost(),
    (request) =>
      network.upgrade(request, () => {
        accepted++;
        return { message() {}, closed() {} };
      }),
  );
  const Socket = network.socketClass(clock.createHost());
  const outcomes = async (attempts: number) => {
    const seen: string[] = [];
    for (let attempt = 0; attempt < attempts; attempt++) {
      const socket = new Socket("ws://server/", "");
      socket.onopen = () => void seen.push("open");
      socket.onclose = ({ code }: { code: number }) =>
        void seen.push(`${code}`);
    }
    await clock.advance(10);
    return seen;
  };
  network.faults.refuse = 1;
  assert.deepEqual(await outcomes(3), ["1006", "1006", "1006"]);
  assert.equal(accepted, 0);
  network.faults.refuse = 0.5;
  const mixed = await outcomes(40);
  assert.equal(mixed.length, 40);
  assert.ok(accepted > 5 && accepted < 35, `${accepted} of 40`);
  assert.equal(mixed.filter((what) => what === "open").length, accepted);
  network.heal();
  assert.deepEqual(await outcomes(2), ["open", "open"]);
});

Deno.test("NetworkFaults.lose: messages do not arrive, either way, and the connection stays", async () => {
  const { clock, network, sendUp, sendDown, take } = await connect();
  network.faults.lose = 1;
  sendUp(1);
  sendDown(2);
  await clock.advance(1_000);
  assert.deepEqual(take(), { up: [], down: [] });
  network.heal();
  sendUp(3);
  sendDown(4);
  await clock.advance(0);
  assert.deepEqual(take(), { up: ["3 at 1000"], down: ["4 at 1000"] });
  network.faults.lose = 0.5;
  for (let n = 0; n < 40; n++) sendDown(5);
  await clock.advance(0);
  const { length } = take().down;
  assert.ok(length > 5 && length < 35, `${length} of 40`);
});

Deno.test("NetworkFaults.duplicate: a message to a client comes twice, one to a server does not", async () => {
  const { clock, network, sendUp, sendDown, take } = await connect();
  network.faults.duplicate = 1;
  sendUp(1);
  sendDown(2);
  await clock.advance(1_000);
  const { up, down } = take();
  assert.deepEqual(up.map((text) => text[0]), ["1"]);
  assert.deepEqual(down.map((text) => text[0]), ["2", "2"]);
  network.heal();
  sendDown(3);
  await clock.advance(1_000);
  assert.deepEqual(take().down, ["3 at 1000"]);
});

Deno.test("NetworkFaults.bytesPerMs: each direction carries so much, and the rest waits in its buffer", async () => {
  const { clock, network, link, sendUp, sendDown, take } = await connect();
  network.faults.bytesPerMs = 10;
  sendUp(1, 400);
  sendDown(2, 400);
  sendDown(3, 200);
  assert.deepEqual(
    [link.up.bufferedBytes, link.down.bufferedBytes],
    [400, 600],
  );
  await clock.advance(40);
  assert.deepEqual(take(), { up: ["1 at 40"], down: ["2 at 40"] });
  assert.deepEqual([link.up.bufferedBytes, link.down.bufferedBytes], [0, 200]);
  await clock.advance(20);
  assert.deepEqual(take(), { up: [], down: ["3 at 60"] });
  assert.equal(link.down.bufferedBytes, 0);
});

Deno.test("Link.cut() loses what is on its way, and tells both ends, after the latency", async () => {
  const { clock, network, link, sendUp, sendDown, take } = await connect();
  network.faults.latencyMs = [20, 20];
  sendUp(1);
  sendDown(2);
  link.cut();
  await clock.advance(19);
  assert.deepEqual(take(), { up: [], down: [] });
  await clock.advance(1_000);
  assert.deepEqual(take(), { up: ["closed at 20"], down: ["1006 at 20"] });
  assert.equal(network.links.size, 0);
});

Deno.test("Link.cutSilently() loses what is on its way and what is sent later, and tells nobody", async () => {
  const { clock, network, link, sendUp, sendDown, take } = await connect();
  network.faults.latencyMs = [20, 20];
  sendUp(1);
  sendDown(2);
  link.cutSilently();
  sendUp(3);
  sendDown(4);
  await clock.advance(3_600_000);
  assert.deepEqual(take(), { up: [], down: [] });
  assert.equal(network.links.size, 1, "both believe in it");
});

Deno.test("LinkDirection.stall() holds one direction back, resume() lets it go on, in order", async () => {
  for (const stalled of ["up", "down"] as const) {
    const { clock, link, sendUp, sendDown, take } = await connect();
    const other = stalled === "up" ? "down" : "up";
    link[stalled].stall();
    for (const byte of [1, 2, 3]) {
      sendUp(byte);
      sendDown(byte);
    }
    await clock.advance(1_000);
    const seen = take();
    assert.deepEqual(seen[stalled], []);
    assert.deepEqual(seen[other], ["1 at 0", "2 at 0", "3 at 0"]);
    assert.equal(link[stalled].bufferedBytes, 3);
    assert.equal(link[other].bufferedBytes, 0);
    link[stalled].resume();
    await clock.advance(0);
    assert.deepEqual(take()[stalled], ["1 at 1000", "2 at 1000", "3 at 1000"]);
    assert.equal(link[stalled].bufferedBytes, 0);
  }
});

Deno.test("SimulatedNetwork.heal() turns every knob back, and lets what has stalled be read", async () => {
  const { clock, network, link, sendUp, sendDown, take } = await connect();
  const perfect = { ...network.faults };
  Object.assign(network.faults, {
    latencyMs: [500, 500],
    refuse: 1,
    lose: 1,
    duplicate: 1,
    bytesPerMs: 0.001,
  });
  link.up.stall();
  link.down.stall();
  network.heal();
  assert.deepEqual(network.faults, perfect);
  sendUp(1);
  sendDown(2);
  await clock.advance(0);
  assert.deepEqual(take(), { up: ["1 at 0"], down: ["2 at 0"] });
});

Deno.test("SimulatedNetwork: a close comes after what was sent before it, with its code", async () => {
  const { clock, network, sendDown, closeDown, take } = await connect();
  network.faults.latencyMs = [5, 50];
  for (const byte of [1, 2, 3]) sendDown(byte);
  closeDown(4_005);
  await clock.advance(100);
  assert.deepEqual(
    take().down.map((text) => text.split(" ")[0]),
    ["1", "2", "3", "4005"],
  );
});
