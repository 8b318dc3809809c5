import assert from "node:assert/strict";
import { join } from "node:path";
import { RawClient, tempKvPath, until } from "./_harness.ts";

const ROOT = join(import.meta.dirname ?? ".", "..");

Deno.test("deno serve adapters/serve.ts serves page and stores, on several threads in step, and ends by itself", async () => {
  await using kv = await tempKvPath();
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "serve",
      "-A",
      "--no-check",
      "--parallel",
      "--host=127.0.0.1",
      "--port=0",
      "adapters/serve.ts",
    ],
    cwd: ROOT,
    env: { HEADWATER_KV: kv.path, DENO_JOBS: "3", NO_COLOR: "1" },
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  let output = "";
  const reading = (async () => {
    for await (
      const text of child.stderr.pipeThrough(new TextDecoderStream())
    ) output += text;
  })();
  try {
    const [, url = ""] = await until(
      () => output.match(/(http:\/\/127\.0\.0\.1:\d+)/),
      {
        ms: 20_000,
        describe: () => output,
      },
    );
    assert.match(await (await fetch(url)).text(), /<title>Headwater<\/title>/);
    await using peers = await connectToTwoThreads(Number(new URL(url).port));
    const [a, b] = peers.clients;
    for (const peer of [a, b]) {
      peer.send({ type: "sub", name: "Counter" });
      assert.deepEqual((await peer.next("snap")).state, { count: 0 });
    }
    a.send({
      type: "rpc",
      id: 1,
      name: "counter.add",
      args: { by: 3 },
      oldest: 1,
      elapsedMs: 0,
    });
    assert.equal(
      (await b.next("patch")).version,
      (await a.next("patch")).version,
    );
    assert.deepEqual((await a.next("res")).value, { count: 3 });
    b.send({
      type: "rpc",
      id: 1,
      name: "counter.add",
      args: { by: 4 },
      oldest: 1,
      elapsedMs: 0,
    });
    await a.next("patch");
    assert.deepEqual((await b.next("res")).value, { count: 7 });
    child.kill("SIGTERM");
    assert.equal((await child.status).code, 0, output);
  } finally {
    try {
      child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await child.status;
    await reading;
  }
});

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
