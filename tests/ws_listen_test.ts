import assert from "node:assert/strict";
import { denoPorts } from "../adapters/deno_ports.ts";
import { listenWs } from "../adapters/ws_listen.ts";
import { listenerContract } from "./_listener_contract.ts";
import { RawPeer, rawRequest } from "./_raw_frames.ts";
import { until, within } from "./_waiting.ts";

listenerContract("listenWs()", () => {
  const { listen, upgrade } = denoPorts();
  return {
    upgrade,
    listen: (target, fetch) =>
      listen({ ...target, transport: "hardened" }, fetch),
  };
});

Deno.test("listenWs() answers an upgrade to something else as any request, and whole", async () => {
  const body = "x".repeat(20_000_000);
  const listener = await listenWs(
    { host: "127.0.0.1", port: 0 },
    () => new Response(body, { headers: { "x-kind": "page" } }),
  );
  await using peer = await RawPeer.send(
    listener.port,
    rawRequest("GET / HTTP/1.1", {
      host: "x",
      connection: "Upgrade, HTTP2-Settings",
      upgrade: "h2c",
    }),
  );
  await until(() => peer.isEnded);
  assert.equal(peer.status, 200);
  assert.match(peer.head ?? "", /x-kind: page/);
  assert.ok(peer.bytes > body.length);
  const startedMs = performance.now();
  await listener.close();
  assert.ok(performance.now() - startedMs < 1_000, "nothing is left of it");
});

Deno.test("listenWs() refuses a body over the limit, announced or not, and goes on", async () => {
  const listener = await listenWs(
    {
      host: "127.0.0.1",
      port: 0,
      limits: { messageBytes: 1_000, stateBytes: 10_000, helloMs: 1_000 },
    },
    async (request) => new Response(`${(await request.text()).length}`),
  );
  const url = `http://127.0.0.1:${listener.port}`;
  const send = async (body: BodyInit) => {
    const response = await fetch(url, { method: "POST", body });
    return [response.status, await response.text()];
  };
  const streamed = (bytes: number) =>
    ReadableStream.from(
      Array.from({ length: bytes / 1_000 }, () => new Uint8Array(1_000)),
    );
  assert.deepEqual(await send("x".repeat(10_000)), [200, "10000"]);
  assert.deepEqual(await send(streamed(10_000)), [200, "10000"]);
  assert.deepEqual(await send("x".repeat(10_001)), [
    413,
    "A body may have 10000 bytes\n",
  ]);
  assert.equal((await send(streamed(11_000)))[0], 500);
  assert.deepEqual(await send("still there"), [200, "11"]);
  await listener.close();
});

Deno.test("listenWs() tells the handler by its signal that the peer has gone", async () => {
  const aborted = Promise.withResolvers<void>();
  const asked = Promise.withResolvers<void>();
  const listener = await listenWs(
    { host: "127.0.0.1", port: 0 },
    ({ signal }) => {
      signal.addEventListener("abort", () => aborted.resolve());
      asked.resolve();
      return new Promise(() => {});
    },
  );
  const peer = await RawPeer.send(
    listener.port,
    rawRequest("GET / HTTP/1.1", { host: "x" }),
  );
  await asked.promise;
  await peer[Symbol.asyncDispose]();
  await within(aborted.promise, { describe: () => "the signal" });
  const startedMs = performance.now();
  await listener.close();
  assert.ok(performance.now() - startedMs < 1_000, "the request is forgotten");
});

Deno.test("close() of listenWs() cuts an upgrade that is never answered, after 2 s", async () => {
  const asked = Promise.withResolvers<void>();
  const listener = await listenWs({ host: "127.0.0.1", port: 0 }, () => {
    asked.resolve();
    return new Promise(() => {});
  });
  await using peer = await RawPeer.send(listener.port, rawRequest());
  await asked.promise;
  const startedMs = performance.now();
  await listener.close();
  const tookMs = performance.now() - startedMs;
  assert.ok(tookMs > 1_900 && tookMs < 4_000, `took ${tookMs} ms`);
  await until(() => peer.isEnded);
});

Deno.test("listenWs() outlives a handler that gives one response twice, or one whose body fails", async () => {
  const once = new Response("once");
  const listener = await listenWs({ host: "127.0.0.1", port: 0 }, ({ url }) => {
    if (url.endsWith("/once")) return once;
    return new Response(
      ReadableStream.from((async function* () {
        yield new Uint8Array(1);
        await Promise.resolve();
        throw new Error("the body fails");
      })()),
    );
  });
  const text = async (path: string) =>
    await (await fetch(`http://127.0.0.1:${listener.port}${path}`)).text();
  assert.equal(await text("/once"), "once");
  await assert.rejects(text("/once"));
  await assert.rejects(text("/fails"));
  await assert.rejects(text("/once"));
  const startedMs = performance.now();
  await listener.close();
  assert.ok(performance.now() - startedMs < 1_000, "nothing is left of them");
});
