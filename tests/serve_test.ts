import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { DenoServe } from "./_deno_serve.ts";
import {
  freshProcess,
  RawClient,
  tempDir,
  tempKvPath,
  within,
} from "./_harness.ts";

const SERVE_URL = import.meta.resolve("../adapters/serve.ts");
const SERVE = fileURLToPath(SERVE_URL);

Deno.test("deno serve adapters/serve.ts serves page and stores, on several threads in step, and ends by itself", async () => {
  await using kv = await tempKvPath();
  await using server = await DenoServe.start({
    script: SERVE,
    env: { HEADWATER_KV: kv.path },
    isolates: 3,
  });
  const page = await fetch(server.url);
  assert.match(await page.text(), /<title>Headwater<\/title>/);
  await using peers = await connectToTwoThreads(server.port);
  const [a, b] = peers.clients;
  for (const peer of [a, b]) {
    peer.send({ type: "sub", name: "Counter" });
    assert.deepEqual((await peer.next("snap")).state, { count: 0 });
  }
  count(a, 3);
  assert.equal(
    (await b.next("patch")).version,
    (await a.next("patch")).version,
  );
  assert.deepEqual((await a.next("res")).value, { count: 3 });
  count(b, 4);
  await a.next("patch");
  assert.deepEqual((await b.next("res")).value, { count: 7 });
  assert.equal((await server.end("SIGTERM")).code, 0, server.output);
});

Deno.test("deno serve adapters/serve.ts touches no KV before somebody connects", async () => {
  await using folder = await tempDir();
  const path = join(folder.path, "deep/state.db");
  await using server = await DenoServe.start({
    script: SERVE,
    env: { HEADWATER_KV: path },
  });
  for (const [path, status] of [["/", 200], ["/nowhere", 404]] as const) {
    const response = await fetch(`${server.url}${path}`);
    assert.equal(response.status, status);
    await response.body?.cancel();
  }
  await assert.rejects(Deno.stat(dirname(path)), Deno.errors.NotFound);
  await using client = await RawClient.connect(server.port);
  await client.hello();
  assert.ok((await Deno.stat(path)).isFile);
});

Deno.test("serve() does nothing when it is imported: no signal is caught, and no process kept alive", async () => {
  await using folder = await tempDir();
  const path = join(folder.path, "script.ts");
  await Deno.writeTextFile(
    path,
    `import app, { serve } from ${JSON.stringify(SERVE_URL)};
    serve({ fetch: () => new Response(), close: () => Promise.resolve() });
    console.log(typeof app.fetch);`,
  );
  await using process = freshProcess([path]);
  await process.line(/^function$/);
  const { code } = await within(process.exited, {
    describe: () => `the end:\n${process.output}`,
  });
  assert.equal(code, 0);
});

Deno.test("Server.close() resolves when clients of Server.fetch have their close code", async () => {
  await using folder = await tempDir();
  const path = join(folder.path, "script.ts");
  await Deno.writeTextFile(
    path,
    `import { createServer } from "@headwater/sync/server";
    const server = createServer({ kv: ":memory:" });
    const http = Deno.serve({
      hostname: "127.0.0.1",
      port: 0,
      onListen: ({ port }) => console.log("port", port),
    }, server.fetch);
    Deno.addSignalListener("SIGTERM", async () => {
      await server.close();
      Deno.exit();
    });`,
  );
  await using process = freshProcess([path]);
  const [, port] = await process.line(/^port (\d+)/);
  const clients = await Promise.all(Array.from({ length: 50 }, async () => {
    const client = await RawClient.connect(Number(port));
    await client.hello();
    return client;
  }));
  process.signal("SIGTERM");
  const codes = await Promise.all(clients.map(async ({ closed }) => {
    return (await closed).code;
  }));
  assert.deepEqual(codes, Array(50).fill(1001));
  await process.exited;
});

Deno.test("deno serve --parallel: an isolate that has nothing to do does not end what another one still does", async () => {
  await using kv = await tempKvPath();
  await using server = await DenoServe.start({
    script: fileURLToPath(import.meta.resolve("./servers/endings.ts")),
    env: { APP_KV: kv.path },
    isolates: 2,
  });
  await server.allThere();
  await using client = await RawClient.connect(server.port);
  const { clientId } = await client.hello();
  client.send({ type: "sub", name: "Entries" });
  await client.next("snap");
  assert.equal((await server.end("SIGTERM")).code, 0, server.output);
  assert.match(server.output, new RegExp(`${clientId} has left`));
});

/** Adds to the counter. */
function count(peer: RawClient, by: number): void {
  const call = { type: "rpc", id: 1, name: "counter.add", oldest: 1 } as const;
  peer.send({ ...call, args: { by }, elapsedMs: 0 });
}

/** Two connections that different threads answer: the system picks one for each. */
async function connectToTwoThreads(
  port: number,
): Promise<
  AsyncDisposable & { readonly clients: readonly [RawClient, RawClient] }
> {
  const first = await RawClient.connect(port);
  const { serverId } = await first.hello();
  for (let attempt = 0; attempt < 100; attempt++) {
    const second = await RawClient.connect(port);
    if ((await second.hello()).serverId === serverId) {
      await second[Symbol.asyncDispose]();
      continue;
    }
    return {
      clients: [first, second],
      async [Symbol.asyncDispose]() {
        await Promise.all([
          first[Symbol.asyncDispose](),
          second[Symbol.asyncDispose](),
        ]);
      },
    };
  }
  throw new Error("One thread answers all connections");
}
