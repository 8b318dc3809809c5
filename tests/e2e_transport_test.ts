/** What users rely on holds on either transport, over plain TCP and TLS. */
import assert from "node:assert/strict";
import { START_PAGES } from "../adapters/start_app.ts";
import { createServer, type ListenOptions } from "../server/mod.ts";
import { connectClient, defineApp, type Entries, startApp } from "./_app.ts";
import { TRANSPORTS } from "./_bystander.ts";
import {
  RawClient,
  startProxy,
  tempKvPath,
  until,
  within,
} from "./_harness.ts";
import { LOCALHOST_CERT, LOCALHOST_KEY } from "./_localhost_certificate.ts";

for (const transport of TRANSPORTS) {
  Deno.test(`${transport} transport: a client subscribes, calls, loses its connection and has exactly what it missed`, async () => {
    await using app = await startApp({ listen: { transport } });
    await using proxy = await startProxy(app.port);
    using client = connectClient(proxy.port);
    const entries = client.subscribe<Entries>("Entries");
    await entries.ready();
    assert.equal(await client.call("entries.add", { label: "one" }), 1);
    assert.deepEqual(entries.getState()?.items, ["one"]);

    proxy.refuse(true);
    proxy.cut();
    await until(() => client.status === "reconnecting");
    const offline = client.call("entries.add", { label: "offline" });
    await app.entries.update((draft) => void draft.items.push("missed"));
    const before = proxy.bytesDown;
    proxy.refuse(false);
    await offline;
    assert.deepEqual(entries.getState()?.items, ["one", "missed", "offline"]);
    assert.ok(proxy.bytesDown - before < 1_500, "a resume, and no snapshot");
    assert.equal((await app.server.health())["connections"], 1);
  });

  Deno.test(`${transport} transport: a restart on the same port loses nothing`, async () => {
    await using kv = await tempKvPath();
    const start = async (port: number) => {
      const server = createServer({ kv: kv.path });
      defineApp(server);
      await server.listen({ port, host: "127.0.0.1", transport });
      return server;
    };
    const first = await start(0);
    const { port } = first;
    using client = connectClient(port);
    const entries = client.subscribe<Entries>("Entries");
    await entries.ready();
    await client.call("entries.add", { label: "before" });
    await first.close();
    await until(() => client.status === "reconnecting");
    const made = client.call("entries.add", { label: "meanwhile" });
    await using _second = await start(port);
    assert.equal(await made, 2);
    await until(() => entries.getState()?.items.length === 2);
  });

  Deno.test(`${transport} transport: health, pages, errors and CORS are served beside the sockets`, async () => {
    await using server = createServer({
      kv: ":memory:",
      pages: START_PAGES,
      cors: "https://a.example",
    });
    await server.listen({
      port: 0,
      host: "127.0.0.1",
      path: "/live",
      transport,
    });
    const url = `http://127.0.0.1:${server.port}`;
    const page = await fetch(url);
    assert.equal(page.headers.get("content-type"), "text/html; charset=utf-8");
    assert.equal(await page.text(), START_PAGES["/"]?.body);
    const head = await fetch(url, { method: "HEAD" });
    assert.deepEqual([head.status, await head.text()], [200, ""]);
    const health = await fetch(`${url}/api/v1/health`, {
      headers: { origin: "https://a.example" },
    });
    assert.equal((await health.json()).status, "ok");
    assert.equal(
      health.headers.get("access-control-allow-origin"),
      "https://a.example",
    );
    const missing = await fetch(`${url}/no`, { method: "POST", body: "x" });
    assert.equal(missing.status, 404);
    assert.match((await missing.json()).error.message, /nothing at POST \/no/);

    const origin = "https://b.example";
    for (
      const [path, headers] of [["", {}], ["/live", { origin }]] as const
    ) {
      await assert.rejects(
        RawClient.connect(`ws://127.0.0.1:${server.port}${path}`, { headers }),
        /Cannot connect/,
      );
    }
    await using client = await RawClient.connect(
      `ws://127.0.0.1:${server.port}/live`,
      { headers: { origin: "https://a.example" } },
    );
    assert.equal(client.protocol, "headwater.v1");
    await client.hello();
  });

  Deno.test(`${transport} transport: TLS, by name and by address`, async () => {
    await using app = await startApp({
      listen: {
        host: "localhost",
        cert: LOCALHOST_CERT,
        key: LOCALHOST_KEY,
        transport,
      },
    });
    using http = Deno.createHttpClient({ caCerts: [LOCALHOST_CERT] });
    const health = await fetch(
      `https://localhost:${app.port}/api/v1/health`,
      { client: http },
    );
    assert.equal((await health.json()).status, "ok");
    // Deno takes options here, which the declaration of browsers does not know.
    const options = { client: http } as unknown as string[];
    const socket = new WebSocket(`wss://127.0.0.1:${app.port}`, options);
    const opened = new Promise((resolve) => socket.onopen = resolve);
    await within(opened, { describe: () => "wss to open" });
    await until(async () => (await app.server.health())["connections"] === 1);
    const closed = new Promise((resolve) => socket.onclose = resolve);
    socket.close();
    await within(closed, { describe: () => "wss to close" });
  });

  Deno.test(`${transport} transport: 100 subscribers have every change in order`, async () => {
    await using app = await startApp({ listen: { transport } });
    await using stack = new AsyncDisposableStack();
    const all = Array.from({ length: 100 }, () => {
      const client = stack.use(connectClient(app.port));
      return client.subscribe<Entries>("Entries");
    });
    await Promise.all(all.map((entries) => entries.ready()));
    const labels = Array.from({ length: 50 }, (_, n) => `${n}`);
    for (const label of labels) {
      await app.entries.update((draft) => void draft.items.push(label));
    }
    await until(() => all.every(({ version }) => version === 51));
    for (const entries of all) {
      assert.deepEqual(entries.getState()?.items, labels);
    }
  });
}

Deno.test("Server.listen() refuses a transport that there is not", async () => {
  await using server = createServer({ kv: ":memory:" });
  // As somebody without types would write it.
  const options = { port: 0, transport: "fast" } as unknown as ListenOptions;
  await assert.rejects(server.listen(options), {
    name: "RangeError",
    message:
      'Cannot listen: transport must be "native" or "hardened", not "fast"',
  });
});
