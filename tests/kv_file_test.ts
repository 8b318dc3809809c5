import assert from "node:assert/strict";
import { basename, dirname, join, relative } from "node:path";
import { openDenoKv } from "../adapters/deno_kv.ts";
import { freshProcess } from "./_fresh_process.ts";
import { tempDir, tempKvPath } from "./_harness.ts";
import { kvContract } from "./_kv_contract.ts";

const ONE = new Uint8Array([1]);

kvContract("openDenoKv(file)", async () => {
  const { path, [Symbol.asyncDispose]: remove } = await tempKvPath();
  const opened = await openDenoKv(path);
  const dispose = async () => {
    await opened.close();
    await remove();
  };
  return { ...opened, [Symbol.asyncDispose]: dispose };
}, { isLocal: true });

Deno.test("openDenoKv() shares one handle, closed with its last user", async () => {
  await using file = await tempKvPath();
  const [one, two] = await Promise.all([
    openDenoKv(file.path),
    openDenoKv(file.path),
  ]);
  const three = await openDenoKv(file.path);
  assert.equal(one.kv, two.kv);
  assert.equal(one.kv, three.kv);
  await one.close();
  await one.close();
  await two.close();
  await three.kv.atomic().set(["a"], ONE).commit();
  assert.deepEqual((await three.kv.get(["a"])).value, ONE);
  await three.close();
  await assert.rejects(async () => await one.kv.get(["a"]));
});

Deno.test("openDenoKv() shares one handle whatever the path is called", async () => {
  await using folder = await tempDir();
  await Deno.mkdir(join(folder.path, "real"));
  await link(join(folder.path, "real"), join(folder.path, "link"));
  const path = join(folder.path, "real", "state.db");
  const one = await openDenoKv(join(folder.path, "link", "state.db"));
  await link(path, join(folder.path, "also.db"));
  const others = await Promise.all([
    openDenoKv(path),
    openDenoKv(join(folder.path, "also.db")),
    openDenoKv(join(folder.path, "real", "..", "real", ".", "state.db")),
    openDenoKv(relative(Deno.cwd(), path)),
  ]);
  const real = await Deno.realPath(path);
  for (const other of [one, ...others]) {
    assert.equal(other.kv, one.kv);
    assert.equal(other.location, real);
    await other.close();
  }
});

Deno.test("openDenoKv() finds the data again after closing", async () => {
  await using file = await tempKvPath();
  for (let i = 0; i < 10; i++) {
    const opened = await openDenoKv(file.path);
    assert.deepEqual(
      (await opened.kv.get(["n"])).value,
      i === 0 ? null : new Uint8Array([i - 1]),
    );
    await opened.kv.atomic().set(["n"], new Uint8Array([i])).commit();
    await opened.close();
  }
});

Deno.test("commit() is on the disk when it resolves: kill -9 loses nothing", async () => {
  await using folder = await tempDir();
  const path = join(folder.path, "state.db");
  const script = join(folder.path, "writer.ts");
  await Deno.writeTextFile(
    script,
    `import { openDenoKv } from ${
      JSON.stringify(import.meta.resolve("../adapters/deno_kv.ts"))
    };
    const { kv } = await openDenoKv(Deno.args[0]!);
    for (let i = 0;; i++) {
      await kv.atomic().set(["n", i], new Uint8Array([1])).commit();
      console.log("committed", i);
    }`,
  );
  await using writer = freshProcess([script, path]);
  await writer.line(/^committed 100$/);
  await writer.kill("SIGKILL");
  const acked = Math.max(
    ...[...writer.output.matchAll(/^committed (\d+)$/gm)].map(([, n]) =>
      Number(n)
    ),
  );
  assert.ok(acked >= 100);
  const opened = await openDenoKv(path);
  let count = 0;
  for await (const { key } of opened.kv.list({ prefix: ["n"] })) {
    assert.equal(key[1], count++);
  }
  assert.ok(count > acked, `${count} of ${acked + 1} are there`);
  await opened.close();
});

Deno.test("openDenoKv() makes the folder", async () => {
  await using folder = await tempDir();
  const opened = await openDenoKv(join(folder.path, "a", "b", "state.db"));
  await opened.kv.atomic().set(["a"], ONE).commit();
  await opened.close();
  assert.ok((await Deno.stat(join(folder.path, "a", "b", "state.db"))).isFile);
});

Deno.test("openDenoKv() says what it could not open, and forgets the failure", async () => {
  await using file = await tempKvPath();
  const { path } = file;
  await assert.rejects(openDenoKv(""), {
    name: "RangeError",
    message: /^Cannot open KV: its location must be a path, .*, found ""$/,
  });
  await assert.rejects(
    openDenoKv(dirname(path)),
    new RegExp(`Cannot open KV ".*${basename(dirname(path))}": `),
  );
  await Deno.writeTextFile(path, "this is not a database ".repeat(100));
  await Promise.all(
    [1, 2].map(() =>
      assert.rejects(
        openDenoKv(path),
        /Cannot open KV ".*state\.db": .*not a database/,
      )
    ),
  );
  await assert.rejects(
    openDenoKv(join(path, "state.db")),
    /Cannot open KV ".*state\.db.state\.db": its folder/,
  );
  await Deno.remove(path);
  const opened = await openDenoKv(path);
  await opened.kv.atomic().set(["a"], ONE).commit();
  await opened.close();
});

Deno.test("openDenoKv() takes a KV Connect URL, with the token of the environment", async () => {
  const tokens: (string | null)[] = [];
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    (request) => {
      tokens.push(request.headers.get("authorization"));
      const url = new URL("/data", request.url).href;
      return Response.json({
        version: 2,
        databaseId: crypto.randomUUID(),
        endpoints: [{ url, consistency: "strong" }],
        token: "data-token",
        expiresAt: new Date(Date.now() + 3_600_000).toISOString(),
      });
    },
  );
  const url = `http://127.0.0.1:${server.addr.port}/database`;
  const before = Deno.env.get("DENO_KV_ACCESS_TOKEN");
  try {
    Deno.env.delete("DENO_KV_ACCESS_TOKEN");
    await assert.rejects(
      openDenoKv(url),
      /Cannot open KV "http:.*\/database": .*DENO_KV_ACCESS_TOKEN/,
    );
    Deno.env.set("DENO_KV_ACCESS_TOKEN", "secret");
    const opened = await openDenoKv(url);
    assert.equal(opened.isLocal, false);
    assert.equal(opened.location, url);
    assert.deepEqual(tokens, ["Bearer secret"]);
    await opened.close();
  } finally {
    if (before === undefined) Deno.env.delete("DENO_KV_ACCESS_TOKEN");
    else Deno.env.set("DENO_KV_ACCESS_TOKEN", before);
    await server.shutdown();
  }
});

/** By a program: Deno makes links only where it may read and write everywhere. */
async function link(target: string, path: string): Promise<void> {
  const { success } = await new Deno.Command("ln", {
    args: ["-s", target, path],
  }).output();
  assert.ok(success);
}
