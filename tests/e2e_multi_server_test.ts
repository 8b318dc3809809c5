/** Several servers over one KV: in one process, and as isolates of `deno serve --parallel`. */
import assert from "node:assert/strict";
import { join } from "node:path";
import type { Counter } from "../adapters/start_app.ts";
import type { Client } from "../client/mod.ts";
import {
  connectClient,
  type Entries,
  rawSubscribe,
  startApp,
  startAppProcess,
} from "./_app.ts";
import { RawClient, tempDir, tempKvPath, until, within } from "./_harness.ts";

const ROOT = join(import.meta.dirname ?? ".", "..");

Deno.test("when a call resolves, the caller's own subscription shows it, with one server", async () => {
  await using app = await startApp();
  using client = connectClient(app.port);
  const entries = client.subscribe<Entries>("Entries");
  await entries.ready();
  await Promise.all(Array.from({ length: 200 }, async (_, n) => {
    const position = await client.call<number>("entries.add", {
      label: `${n}`,
    });
    assert.equal(entries.getState()?.items[position - 1], `${n}`);
  }));
});

Deno.test("when a call resolves, the caller's own subscription shows it, with writers on two servers", async () => {
  await using kv = await tempKvPath();
  await using first = await startApp({ kv: kv.path });
  await using second = await startApp({ kv: kv.path });
  await using clients = new DisposableStack();
  const writers = [first, first, second, second].map(({ port }) =>
    clients.use(connectClient(port))
  );
  const handles = writers.map((client) => client.subscribe<Entries>("Entries"));
  await Promise.all(handles.map((handle) => handle.ready()));
  const each = 60;
  await Promise.all(writers.map(async (client, writer) => {
    for (let n = 0; n < each; n++) {
      const label = `${writer}.${n}`;
      const position = await client.call<number>("entries.add", { label });
      assert.equal(handles[writer]?.getState()?.items[position - 1], label);
    }
  }));
  const total = writers.length * each;
  await until(() =>
    handles.every((handle) => handle.getState()?.items.length === total)
  );
  for (const handle of handles) {
    assert.deepEqual(handle.getState(), handles[0]?.getState());
    assert.equal(handle.version, handles[0]?.version);
  }
});

Deno.test("many writers on two servers make one order: dense versions, the same at every replica", async () => {
  await using kv = await tempKvPath();
  await using first = await startApp({ kv: kv.path });
  await using second = await startApp({ kv: kv.path });
  await using watchers = new AsyncDisposableStack();
  const raw: RawClient[] = [];
  for (const { port } of [first, second]) {
    const client = watchers.use(await RawClient.connect(port));
    await client.hello();
    await rawSubscribe(client, "Entries");
    raw.push(client);
  }
  const each = 200;
  const written = await Promise.all(
    [first, second].flatMap((app, server) =>
      Array.from({ length: each }, async (_, n) => {
        const { version } = await app.entries.update((draft) =>
          void draft.items.push(`${server}.${n}`)
        );
        return version;
      })
    ),
  );
  // Version 1 is the store's creation; each mutation after it has a version of its own.
  assert.deepEqual(
    written.toSorted((a, b) => a - b),
    Array.from({ length: 2 * each }, (_, i) => i + 2),
  );
  const orders = await Promise.all(raw.map(async (client) => {
    const steps = await until(() => {
      const patches = client.frames.filter((frame) => frame.type === "patch");
      return patches.at(-1)?.version === 1 + 2 * each ? patches : undefined;
    });
    let version = 1;
    for (const { from, version: to } of steps) {
      assert.equal(from, version, "a gap or a repetition");
      version = to;
    }
    return steps.flatMap(({ patch }) =>
      patch.map((step) => "value" in step ? step.value : step)
    );
  }));
  assert.deepEqual(orders[0], orders[1]);
  assert.deepEqual((await first.entries.get()).items, orders[0]);
  assert.deepEqual((await second.entries.get()).items, orders[0]);
});

Deno.test("a store that is deleted on one server is deleted for the clients of the other", async () => {
  await using kv = await tempKvPath();
  await using first = await startApp({ kv: kv.path });
  await using second = await startApp({ kv: kv.path });
  await using client = await RawClient.connect(second.port);
  await client.hello();
  const { epoch } = await rawSubscribe(client, "Entries");
  await first.entries.delete();
  assert.deepEqual(await client.next("del"), { type: "del", name: "Entries" });
  await first.entries.update((draft) => void draft.items.push("new"));
  const snap = await rawSubscribe(client, "Entries");
  assert.notEqual(snap.epoch, epoch);
  assert.deepEqual(snap.type === "snap" && snap.state, { items: ["new"] });
});

Deno.test("a change reaches the clients of another process over one file", async () => {
  await using kv = await tempKvPath();
  await using first = await startAppProcess({ kv: kv.path });
  await using second = await startAppProcess({ kv: kv.path });
  using writer = connectClient(first.port);
  using reader = connectClient(second.port);
  const seen = reader.subscribe<Entries>("Entries");
  await seen.ready();
  for (let n = 1; n <= 5; n++) {
    await writer.call("entries.add", { label: `${n}` });
    await until(() => seen.getState()?.items.length === n, { ms: 2_000 });
  }
  assert.equal(second.process.output.trim(), `listening ${second.port}`);
  assert.equal(first.process.output.trim(), `listening ${first.port}`);
});

Deno.test("a server that does not follow others sees their writes when it writes itself", async () => {
  await using kv = await tempKvPath();
  await using first = await startApp({ kv: kv.path });
  await using alone = await startApp({ kv: kv.path, sync: false });
  assert.deepEqual((await alone.entries.get()).items, []);
  await alone.entries.init();
  await first.entries.update((draft) => void draft.items.push("a"));
  const { value } = await alone.entries.update((draft) =>
    draft.items.push("b")
  );
  assert.equal(value, 2);
  assert.deepEqual(alone.entries.peek()?.items, ["a", "b"]);
});

Deno.test("isolates of deno serve --parallel keep their clients in step", async () => {
  await using folder = await tempDir();
  const port = await freePort();
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "serve",
      "-A",
      "--no-check",
      "--parallel",
      `--config=${join(ROOT, "deno.json")}`,
      "--host=127.0.0.1",
      `--port=${port}`,
      join(ROOT, "adapters/serve.ts"),
    ],
    env: {
      DENO_JOBS: "4",
      HEADWATER_KV: join(folder.path, "state.db"),
      NO_COLOR: "1",
    },
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const stderr = new Response(child.stderr).text();
  try {
    const isolates = new Set<string>();
    const clients: Client[] = [];
    try {
      // The system spreads connections over the isolates; each tells its own id.
      await until(async () => {
        const probe = await RawClient.connect(port).catch(() => undefined);
        if (!probe) return false;
        const { serverId } = await probe.hello();
        probe.close();
        await probe.closed;
        isolates.add(serverId);
        return isolates.size >= 2;
      }, { ms: 20_000, describe: () => `${isolates.size} isolates seen` });
      for (let n = 0; n < 16; n++) clients.push(connectClient(port));
      const handles = clients.map((client) =>
        client.subscribe<Counter>("Counter")
      );
      await Promise.all(
        handles.map((handle) =>
          within(handle.ready(), { ms: 10_000, describe: () => "ready" })
        ),
      );
      const each = 10;
      await Promise.all(clients.map(async (client, index) => {
        for (let n = 0; n < each; n++) {
          const { count } = await client.call<{ count: number }>(
            "counter.add",
            { by: 1 },
          );
          assert.ok(
            (handles[index]?.getState()?.count ?? 0) >= count,
            "it does not show its own write",
          );
        }
      }));
      const total = clients.length * each;
      await until(
        () => handles.every((handle) => handle.getState()?.count === total),
        {
          describe: () =>
            `${handles.map((handle) => handle.getState()?.count)} of ${total}`,
        },
      );
      assert.equal(new Set(handles.map(({ version }) => version)).size, 1);
    } finally {
      for (const client of clients) client.destroy();
    }
  } finally {
    child.kill("SIGTERM");
    await within(child.status, {
      ms: 10_000,
      describe: () => "the end of deno serve",
    }).finally(() => {
      try {
        child.kill("SIGKILL");
      } catch {
        // It has ended.
      }
    });
  }
  assert.doesNotMatch(await stderr, /error|panic/i);
});

/** A port that was free a moment ago. */
function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}
