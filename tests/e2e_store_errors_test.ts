/** What clients see of a KV that is corrupt, gone or full. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { CLOSE, PROTOCOL_VERSION } from "../protocol/frames.ts";
import { headKey, logPrefix } from "../server/log/keys.ts";
import { readHead } from "../server/log/reader.ts";
import { createServer } from "../server/mod.ts";
import {
  callValue,
  connectClient,
  defineApp,
  type Entries,
  rawCall,
  rawSubscribe,
  startApp,
} from "./_app.ts";
import { RawClient, tempKvPath, until, within } from "./_harness.ts";
import { FaultyKv } from "./_kv_faults.ts";

const ENTRIES = { namespace: "default", name: "Entries" };

/** A KV in which the store "Entries" holds one item, written by a server that is closed again. */
async function filledKv(): Promise<Deno.Kv> {
  const kv = await Deno.openKv(":memory:");
  await using app = await startApp({ kv });
  await app.entries.update((draft) => void draft.items.push("a"));
  return kv;
}

/** The keys of the records that the store needs: its head and its log. */
async function recordsOf(
  kv: Deno.Kv,
): Promise<{ key: Deno.KvKey; value: unknown }[]> {
  const head = await kv.get(headKey(ENTRIES));
  const records = [{ key: head.key, value: head.value }];
  const { head: { epoch } } = await readHead(kv, ENTRIES) ??
    assert.fail("there is no head");
  for await (
    const { key, value } of kv.list({ prefix: [...logPrefix(ENTRIES, epoch)] })
  ) {
    records.push({ key, value });
  }
  return records;
}

const DAMAGES: [name: string, damage: (value: unknown) => unknown][] = [
  [
    "cut",
    (value) =>
      value instanceof Uint8Array
        ? value.slice(0, value.length / 2)
        : assert.fail("no bytes"),
  ],
  ["overwritten", () => new Uint8Array([0xc1, 0xff, 0x00])],
  ["empty", () => new Uint8Array()],
  ["of another type", () => "text"],
  ["one bit off at the start", (value) => {
    assert.ok(value instanceof Uint8Array);
    const bytes = value.slice();
    bytes[0]! ^= 0x40;
    return bytes;
  }],
];

for (const [name, damage] of DAMAGES) {
  Deno.test(`a store whose records are damaged is an error to everybody, never empty: ${name}`, async () => {
    using kv = await filledKv();
    for (const { key, value } of await recordsOf(kv)) {
      await kv.set(key, damage(value));
      const before = await kv.get(key);
      {
        await using app = await startApp({ kv });
        await using client = await RawClient.connect(app.port);
        await client.hello();
        client.send({ type: "sub", name: "Entries" });
        const { error, name: about } = await client.next("err");
        assert.deepEqual([error.code, about], ["store_unreadable", "Entries"]);
        await assert.rejects(app.entries.get(), { code: "store_unreadable" });
        await assert.rejects(
          app.entries.update((draft) => void draft.items.push("b")),
          { code: "store_unreadable" },
        );
        const { error: refused } = await rawCall(client, 1, {
          name: "entries.add",
          args: { label: "b" },
        });
        assert.equal(refused?.code, "store_unreadable");
        assert.equal(
          client.frames.some(({ type }) => type === "snap"),
          false,
          "a state was shown",
        );
        // Another store is not concerned.
        assert.equal((await rawSubscribe(client, "Room:a")).type, "snap");
        assert.deepEqual(
          (await kv.get(key)).versionstamp,
          before.versionstamp,
          "the damage was overwritten",
        );
        // Once it is mended, the same server serves it.
        await kv.set(key, value);
        const snap = await rawSubscribe(client, "Entries");
        assert.deepEqual(snap.type === "snap" && snap.state, { items: ["a"] });
      }
    }
  });
}

Deno.test("a client keeps asking for a store that cannot be read, and has it once it can", async () => {
  using kv = await filledKv();
  const [head] = await recordsOf(kv);
  assert.ok(head);
  await kv.set(head.key, new Uint8Array([1, 2, 3]));
  await using app = await startApp({ kv });
  using client = connectClient(app.port);
  let errors = 0;
  client.on("error", () => void errors++);
  const entries = client.subscribe<Entries>("Entries");
  await assert.rejects(entries.ready(), { code: "store_unreadable" });
  assert.equal(entries.hasData(), false);
  await kv.set(head.key, head.value);
  await until(() => entries.hasData());
  assert.deepEqual(entries.getState()?.items, ["a"]);
  assert.ok(errors >= 1);
});

Deno.test("while the KV is gone writes reject and readers go on; when it is back, so is the server", async () => {
  using real = await Deno.openKv(":memory:");
  const kv = new FaultyKv(real);
  await using app = await startApp({ kv, limits: { commitMs: 150 } });
  await using reader = await RawClient.connect(app.port);
  await reader.hello();
  await rawSubscribe(reader, "Entries");
  await callValue(reader, 1, "entries.add", { label: "before" });

  kv.outage = new Error("disk I/O error");
  const { error } = await rawCall(reader, 2, {
    name: "entries.add",
    args: { label: "lost" },
  });
  assert.equal(error?.code, "unavailable");
  assert.match(error?.message ?? "", /disk I\/O error/);
  await assert.rejects(
    app.entries.update((draft) => void draft.items.push("lost")),
    { code: "unavailable" },
  );
  // What is loaded can be read, also by somebody who comes now.
  await using newcomer = await RawClient.connect(app.port);
  await newcomer.hello();
  const snap = await rawSubscribe(newcomer, "Entries");
  assert.deepEqual(snap.type === "snap" && snap.state, { items: ["before"] });
  assert.equal(await callValue(newcomer, 1, "echo", "still"), "still");
  // What is not loaded is an error, not an empty store.
  newcomer.send({ type: "sub", name: "Room:a" });
  assert.equal((await newcomer.next("err")).name, "Room:a");
  assert.equal(
    await healthStatus(app.port),
    503,
  );

  kv.outage = undefined;
  assert.equal(
    await callValue(reader, 3, "entries.add", { label: "after" }),
    2,
  );
  assert.deepEqual((await app.entries.get()).items, ["before", "after"]);
  assert.equal((await rawSubscribe(newcomer, "Room:a")).type, "snap");
  assert.equal(
    await healthStatus(app.port),
    200,
  );
});

Deno.test("a server whose KV cannot be opened says so, and works once it can", async () => {
  using real = await Deno.openKv(":memory:");
  const kv = new FaultyKv(real);
  kv.outage = new Error("no such host");
  const server = createServer({ kv });
  defineApp(server);
  await assert.rejects(
    server.listen({ host: "127.0.0.1", port: 0 }),
    /no such host/,
  );
  // Behind a host of its own it is there all the same.
  const http = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    server.fetch,
  );
  const { port } = http.addr;
  {
    await using early = await RawClient.connect(port);
    early.send({ type: "hello", protocol: PROTOCOL_VERSION });
    const { code } = await within(early.closed, {
      describe: () => "the close",
    });
    assert.equal(code, CLOSE.unavailable);
    using patient = connectClient(port);
    await until(() => patient.status === "reconnecting");
    await assert.rejects(server.store("Entries")!.get(), /no such host/);
    assert.equal(await healthStatus(port), 503);
    kv.outage = undefined;
    // A client comes by itself.
    assert.equal(await patient.call("entries.add", { label: "a" }), 1);
    assert.equal(await healthStatus(port), 200);
  }
  await server.close();
  await http.shutdown();
});

async function healthStatus(port: number): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${port}/api/v1/health`);
  await response.body?.cancel();
  return response.status;
}

/** Whether the size of a process's files can be limited while it runs. */
function hasPrlimit(): boolean {
  try {
    execFileSync("prlimit", ["--version"]);
    return true;
  } catch {
    return false;
  }
}

Deno.test({
  name:
    "on a full disk writes reject and readers go on; with space again, so does the server",
  ignore: !hasPrlimit(),
  async fn() {
    await using kv = await tempKvPath();
    const script = fileURLToPath(import.meta.resolve("./servers/app.ts"));
    const config = fileURLToPath(import.meta.resolve("../deno.json"));
    const child = new Deno.Command("sh", {
      // A write over the limit must fail like one on a full disk, and not end the process.
      args: [
        "-c",
        'trap "" XFSZ; exec "$@"',
        "sh",
        Deno.execPath(),
        "run",
        "-A",
        `--config=${config}`,
        script,
      ],
      env: {
        NO_COLOR: "1",
        APP_OPTIONS: JSON.stringify({
          kv: kv.path,
          server: { limits: { commitMs: 300 } },
        }),
      },
      stdin: "null",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    const limit = (bytes: number | "unlimited") =>
      execFileSync("prlimit", [
        `--pid=${child.pid}`,
        `--fsize=${bytes}:unlimited`,
      ]);
    let output = "";
    const reading = (async () => {
      for await (
        const text of child.stdout.pipeThrough(new TextDecoderStream())
      ) output += text;
    })();
    try {
      const [, port = ""] = await until(() => /listening (\d+)/.exec(output), {
        ms: 20_000,
        describe: () => output,
      });
      await using client = await RawClient.connect(Number(port));
      await client.hello();
      await rawSubscribe(client, "Entries");
      let id = 0;
      const acked: string[] = [];
      const add = async () => {
        const label = `${++id} ${"x".repeat(5_000)}`;
        const { error } = await rawCall(client, id, {
          name: "entries.add",
          args: { label },
        });
        if (!error) acked.push(label);
        return error;
      };
      for (let n = 0; n < 10; n++) assert.equal(await add(), undefined);
      limit(Deno.statSync(kv.path).size + 64 * 1024);
      const error = await until(add, { ms: 20_000 });
      assert.equal(error.code, "unavailable", error.message);
      await using newcomer = await RawClient.connect(Number(port));
      await newcomer.hello();
      assert.deepEqual(
        stateOf(await rawSubscribe(newcomer, "Entries")),
        acked,
        "readers see what was acknowledged, and nothing else",
      );
      limit("unlimited");
      await until(async () => !await add(), { ms: 10_000 });
      assert.deepEqual(stateOf(await rawSubscribe(client, "Entries")), acked);
      child.kill("SIGTERM");
      assert.equal(
        (await within(child.status, { describe: () => output })).code,
        0,
      );
      await reading;
      await using again = await startApp({ kv: kv.path });
      assert.deepEqual((await again.entries.get()).items, acked);
    } finally {
      try {
        child.kill("SIGKILL");
      } catch {
        // It has ended by itself.
      }
      await child.status;
      await reading;
    }
  },
});

function stateOf(frame: Awaited<ReturnType<typeof rawSubscribe>>): unknown {
  return frame.type === "snap" && (frame.state as unknown as Entries).items; // the store's definition says so
}
