/**
 * What a peer below the protocol can make each transport hold: the hardened one
 * is bounded, and what the native one lets through is stated here.
 */
import assert from "node:assert/strict";
import { callValue, rawSubscribe, startAppProcess } from "./_app.ts";
import { Bystander, TRANSPORTS } from "./_bystander.ts";
import { RawClient, tempKvPath, until, within } from "./_harness.ts";
import { OPCODE, rawFrame, RawPeer } from "./_raw_frames.ts";

const MB = 1024 * 1024;
const LIMITS = { messageBytes: 64 * 1024, helloMs: 300, stallMs: 200 };
const FRAGMENT = rawFrame({
  opcode: OPCODE.continuation,
  isFinal: false,
  payload: new Uint8Array(32 * 1024),
});

/** Sends fragments of one message until that much has gone, or TCP has ended. */
async function sendFragments(peer: RawPeer, bytes: number): Promise<void> {
  await peer.write(rawFrame({ isFinal: false }));
  for (let sent = 0; sent < bytes && !peer.isEnded; sent += 32 * 1024) {
    await peer.write(FRAGMENT);
  }
}

Deno.test("hardened transport: fragments without end are cut by 1009, and cost no memory", async () => {
  await using bystander = await Bystander.start({
    transport: "hardened",
    limits: LIMITS,
  });
  const beforeMb = await bystander.memoryMb();
  await Promise.all(Array.from({ length: 10 }, async (_, n) => {
    await using peer = await RawPeer.upgrade(bystander.app.port);
    if (n % 2 === 1) await peer.hello();
    await sendFragments(peer, 256 * MB);
    await until(() => peer.isEnded);
    // A reset, for what was sent after the end, may take the code with it.
    assert.ok([1009, "cut"].includes(peer.end ?? ""), `${peer.end}`);
  }));
  await using patient = await RawPeer.upgrade(bystander.app.port);
  await sendFragments(patient, 80 * 1024);
  await until(() => patient.isEnded);
  assert.equal(patient.end, 1009);
  const grownMb = await bystander.memoryMb() - beforeMb;
  // 2.5 GB were offered; what was read and thrown away waits for the collector.
  assert.ok(grownMb < 128, `the server has grown by ${grownMb} MB`);
  await bystander.check("fragments without end");
});

Deno.test("native transport: fragments without end grow the memory, even behind a close, until TCP ends", async () => {
  await using bystander = await Bystander.start({
    transport: "native",
    limits: LIMITS,
  });
  const beforeMb = await bystander.memoryMb();
  {
    await using peer = await RawPeer.upgrade(bystander.app.port);
    await sendFragments(peer, MB);
    await until(() => peer.end !== undefined);
    assert.equal(peer.end, 4002, "the core has ended it");
    await bystander.untilAlone();
    await sendFragments(peer, 128 * MB);
    await until(async () => await bystander.memoryMb() - beforeMb > 96);
    assert.equal(peer.isEnded, false);
  }
  await until(async () => await bystander.memoryMb() - beforeMb < 64, {
    describe: () => "the memory was not given back",
  });
  await bystander.check("fragments without end");
});

for (const transport of TRANSPORTS) {
  Deno.test(`${transport} transport: a flood of pings that reads no pong costs no memory`, async () => {
    await using bystander = await Bystander.start({
      transport,
      limits: LIMITS,
    });
    const beforeMb = await bystander.memoryMb();
    await using peer = await RawPeer.upgrade(bystander.app.port);
    assert.ok(await peer.hello());
    peer.tcp.pause();
    const ping = rawFrame({
      opcode: OPCODE.ping,
      payload: new Uint8Array(125),
    });
    const pings = new Uint8Array(500 * ping.length).map((_, i) =>
      ping[i % ping.length] ?? 0
    );
    // The native server stops reading, at some time; the hardened one cuts the peer.
    let taken = 0;
    const flood = (async () => {
      while (taken < 4_000_000 && !peer.tcp.destroyed) {
        await peer.write(pings);
        taken += 500;
      }
    })();
    let seen = -1;
    await until(async () => {
      const isStill = seen === taken;
      seen = taken;
      await bystander.isServed(`${taken} pings`);
      return isStill || peer.tcp.destroyed;
    });
    const grownMb = await bystander.memoryMb() - beforeMb;
    assert.ok(grownMb < 32, `the server has grown by ${grownMb} MB`);
    await peer[Symbol.asyncDispose]();
    await within(flood, { describe: () => "the end of the flood" });
    await bystander.check("pings");
  });
}

/** Asks for an answer of 48 MB, and reads nothing. */
async function stall(port: number): Promise<RawPeer> {
  const peer = await RawPeer.upgrade(port);
  assert.ok(await peer.hello());
  peer.tcp.pause();
  const call = { id: 1, oldest: 1, elapsedMs: 0, name: "large" };
  await peer.say({ type: "rpc", ...call, args: 48 * MB });
  return peer;
}

async function openFiles(pid: number): Promise<number> {
  // Deno itself reads nothing below /proc without every permission.
  const { stdout } = await new Deno.Command("ls", { args: [`/proc/${pid}/fd`] })
    .output();
  return new TextDecoder().decode(stdout).trim().split("\n").length;
}

const isLinux = Deno.build.os === "linux";

Deno.test({
  name:
    "hardened transport: a peer that stalls loses its TCP and what waited for it",
  ignore: !isLinux,
  fn: async () => {
    await using bystander = await Bystander.start({
      transport: "hardened",
      limits: LIMITS,
    });
    const { port, process } = bystander.app;
    await bystander.check("nothing");
    const files = await openFiles(process.pid);
    const peers = await Promise.all([1, 2, 3].map(() => stall(port)));
    await until(async () => await openFiles(process.pid) >= files + 3);
    await bystander.untilAlone();
    await until(async () => await openFiles(process.pid) <= files, {
      ms: 15_000,
    });
    for (const peer of peers) {
      peer.tcp.resume();
      await until(() => peer.isEnded);
      // The system's own buffers are what is left.
      assert.ok(peer.bytes < 24 * MB, `${peer.bytes} bytes came`);
      await peer[Symbol.asyncDispose]();
    }
    await bystander.check("stalled peers");
  },
});

Deno.test({
  name:
    "native transport: a peer that stalls keeps its TCP and what waited for it, beyond its eviction",
  ignore: !isLinux,
  fn: async () => {
    await using bystander = await Bystander.start({
      transport: "native",
      limits: LIMITS,
    });
    const { port, process } = bystander.app;
    await bystander.check("nothing");
    const files = await openFiles(process.pid);
    await using peer = await stall(port);
    await bystander.untilAlone();
    assert.ok(await openFiles(process.pid) > files);
    peer.tcp.resume();
    await until(() => peer.end !== undefined, { ms: 20_000 });
    assert.equal(peer.end, 4008);
    assert.ok(peer.bytes > 48 * MB, `${peer.bytes} bytes came`);
    await peer[Symbol.asyncDispose]();
    await bystander.check("a stalled peer");
  },
});

for (const transport of TRANSPORTS) {
  const isNative = transport === "native";
  Deno.test(
    `${transport} transport: close() does not wait for peers that stall, and the process ends ${
      isNative ? "with the last of them" : "by itself"
    }`,
    async () => {
      await using kv = await tempKvPath();
      await using app = await startAppProcess({
        kv: kv.path,
        listen: { transport },
      });
      await using client = await RawClient.connect(app.port);
      await client.hello();
      await rawSubscribe(client, "Entries");
      const peers = await Promise.all([1, 2, 3].map(() => stall(app.port)));
      await callValue(client, 1, "entries.add", { label: "all are there" });
      const startedMs = performance.now();
      app.process.signal("SIGTERM");
      assert.equal((await client.closed).code, 1001);
      const isListening = () =>
        fetch(`http://127.0.0.1:${app.port}/api/v1/health`).then(
          async ({ body, status }) => {
            await body?.cancel();
            return status !== 503;
          },
          () => false,
        );
      await until(async () => !await isListening());
      let isOver = false;
      void app.process.exited.then(() => isOver = true);
      if (isNative) {
        await until(() =>
          fetch(`http://127.0.0.1:${app.port}`).then(
            ({ body }) => body?.cancel().then(() => false),
            () => true,
          )
        );
        assert.equal(isOver, false, "three peers keep it");
        for (const peer of peers) await peer[Symbol.asyncDispose]();
      }
      const { code } = await within(app.process.exited, {
        ms: 10_000,
        describe: () => app.process.output,
      });
      assert.equal(code, 0, app.process.output);
      const tookMs = performance.now() - startedMs;
      assert.ok(tookMs < 7_000, `it took ${tookMs} ms`);
      for (const peer of peers) await peer[Symbol.asyncDispose]();
    },
  );
}

Deno.test("native transport: a peer that never answers a close keeps its TCP; hardened: it is cut", async () => {
  for (const transport of TRANSPORTS) {
    await using bystander = await Bystander.start({
      transport,
      limits: LIMITS,
    });
    await using peer = await RawPeer.upgrade(bystander.app.port);
    await until(() => peer.end === 4002);
    if (transport === "hardened") await until(() => peer.isEnded);
    else {
      // As long as the other transport waits, and the life of another peer.
      await using other = await RawPeer.upgrade(bystander.app.port);
      await until(() => other.end === 4002);
      assert.equal(peer.isEnded, false);
    }
    await bystander.check("a close without an answer");
  }
});
