/** A remote KV in trouble: what is waited for, given up, sent once and sent again. */
import assert from "node:assert/strict";
import { openDenoKv } from "../adapters/deno_kv.ts";
import { createDenoHttpClient } from "../adapters/deno_http_client.ts";
import { decodeKey, encodeKey } from "../adapters/kv_connect/keys.ts";
import { RemoteKv } from "../adapters/kv_connect/kv.ts";
import { KvU64 } from "../adapters/kv_connect/messages.ts";
import type { KvKey, OpenedKv } from "../server/ports.ts";
import { denokvTest } from "./_denokv.ts";
import { freshProcess, startProxy, until, within } from "./_harness.ts";

const ONE = new Uint8Array([1]);

/** Keys of every kind, in their order. */
const KEYS: readonly KvKey[] = [
  [new Uint8Array([0, 0, 255])],
  [new Uint8Array([0, 1])],
  [""],
  ["a"],
  ["a", -(2n ** 80n)],
  ["a", -256n],
  ["a", -1n],
  ["a", 0n],
  ["a", 255n],
  ["a", 2n ** 64n],
  ["a\0"],
  ["a\0b", "c"],
  ["\u{1f600}", 1],
  [-Infinity],
  [-1.5],
  [-0],
  [0],
  [2 ** 53],
  [false],
  [true],
];

/** Closes what was opened, also where the test fails. */
async function openUntilEnd(url: string): Promise<OpenedKv & AsyncDisposable> {
  const opened = await openDenoKv(url);
  return { ...opened, [Symbol.asyncDispose]: () => opened.close() };
}

Deno.test("encodeKey() keeps the order of keys, and decodeKey() gives them back", () => {
  const hex = (key: KvKey) =>
    Array.from(encodeKey(key), (byte) => byte.toString(16).padStart(2, "0"))
      .join("");
  const encoded = KEYS.map(hex);
  assert.deepEqual(encoded, encoded.toSorted());
  for (const key of KEYS) assert.deepEqual(decodeKey(encodeKey(key)), key);
  for (const bad of [[0x02, 0x61], [0x21, 0], [0x15], [0x1d, 9, 1], [0x40]]) {
    assert.throws(() => decodeKey(new Uint8Array(bad)), /cannot be read/);
  }
});

denokvTest(
  "what Deno's own client wrote is read, and the other way round",
  async (denokv) => {
    await using ours = await openUntilEnd(denokv.url);
    using theirs = await Deno.openKv(denokv.url);
    for (const [n, key] of KEYS.entries()) {
      const value = new Uint8Array([n]);
      const one = key as Deno.KvKey; // the same parts
      await theirs.atomic().set(["theirs", ...one], value).commit();
      await ours.kv.atomic().set(["ours", ...key], value).commit();
    }
    await theirs.atomic().sum(["count"], 2n ** 40n).commit();
    await ours.kv.atomic().sum(["count"], 5n).commit();
    for (const prefix of [["theirs"], ["ours"]]) {
      const mine = await Array.fromAsync(ours.kv.list({ prefix }));
      assert.deepEqual(mine, await Array.fromAsync(theirs.list({ prefix })));
      assert.deepEqual(mine.map(({ key }) => key.slice(1)), KEYS);
    }
    const { value, ...rest } = await theirs.get<Deno.KvU64>(["count"]);
    assert.deepEqual(await ours.kv.get(["count"]), {
      ...rest,
      value: new KvU64(value!.value), // it was counted above
    });
  },
);

denokvTest(
  "openDenoKv() waits a little for a remote KV that is not there yet",
  async (denokv) => {
    await denokv.kill();
    const opening = openUntilEnd(denokv.url);
    await denokv.restart();
    await using opened = await opening;
    assert.equal((await opened.kv.get(["a"])).versionstamp, null);
  },
);

denokvTest(
  "openDenoKv() says at once that a token is wrong, and what is no KV",
  async (denokv) => {
    Deno.env.set("DENO_KV_ACCESS_TOKEN", "of another database");
    const refused = assert.rejects(
      openDenoKv(denokv.url),
      /Cannot open KV "http:.*": status 401: Invalid access token/,
    );
    await within(refused, { ms: 2_000, describe: () => "the refusal" });
    await using other = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen() {} },
      () => new Response("Hello"),
    );
    await assert.rejects(
      openDenoKv(`http://127.0.0.1:${other.addr.port}`),
      /Cannot open KV ".*": it does not speak KV Connect/,
    );
  },
);

denokvTest(
  "a remote KV that was killed and started again goes on: reads, commits and watches",
  async (denokv) => {
    await using opened = await openUntilEnd(denokv.url);
    const { kv } = opened;
    await kv.atomic().set(["a"], ONE).commit();
    const watch = kv.watch([["bell"]]).getReader();
    await watch.read();
    await denokv.kill();
    // A read is asked for again; whether a write is, is for its writer to decide.
    const read = kv.get(["a"]);
    await assert.rejects(kv.atomic().set(["b"], ONE).commit());
    await denokv.restart();
    assert.deepEqual((await read).value, ONE);
    assert.equal((await kv.atomic().set(["b"], ONE).commit()).ok, true);
    let rings = 0;
    const listening = (async () => {
      while (!(await watch.read()).done) rings++;
    })();
    await until(async () => {
      await kv.atomic().sum(["bell"], 1n).commit();
      return rings > 1;
    });
    await watch.cancel();
    await listening;
  },
);

denokvTest(
  "a write whose answer is lost is not sent again: it took effect once, and throws",
  async (denokv) => {
    await using proxy = await startProxy(denokv.port);
    await using opened = await openUntilEnd(`http://127.0.0.1:${proxy.port}`);
    const { kv } = opened;
    await kv.get(["warm"]);
    let thrown = 0;
    const writes = 40;
    for (let n = 0; n < writes; n++) {
      // Each adds one, without a check that would keep a second one out.
      if (n % 2 === 0) proxy.cutAfter(10);
      await kv.atomic().sum(["count"], 1n).commit().catch(() => thrown++);
    }
    assert.equal(thrown, writes / 2);
    assert.deepEqual(
      (await kv.get(["count"])).value,
      new KvU64(BigInt(writes)),
    );
  },
);

denokvTest(
  "connections that swallow everything are given up for new ones within seconds",
  async (denokv) => {
    await using proxy = await startProxy(denokv.port);
    await using opened = await openUntilEnd(`http://127.0.0.1:${proxy.port}`);
    const { kv } = opened;
    await kv.atomic().set(["a"], ONE).commit();
    const ask = (count: number) =>
      Promise.all(Array.from({ length: count }, () => kv.get(["a"])));
    // More connections than are used at once after that: some of the dead are left.
    await ask(30);
    proxy.swallow();
    const write = assert.rejects(
      kv.atomic().set(["b"], ONE).commit(),
      /did not answer in time/,
    );
    const reads = await within(ask(10), { ms: 6_000, describe: () => "reads" });
    for (const { value } of reads) assert.deepEqual(value, ONE);
    await write;
    assert.equal((await kv.atomic().set(["b"], ONE).commit()).ok, true);
  },
);

denokvTest(
  "a watch whose connection swallows everything is begun anew",
  async (denokv) => {
    await using proxy = await startProxy(denokv.port);
    await using direct = await openUntilEnd(denokv.url);
    const kv = await RemoteKv.open(`http://127.0.0.1:${proxy.port}`, {
      createClient: createDenoHttpClient,
      token: denokv.token,
      silenceMs: 500,
    });
    try {
      const watch = kv.watch([["bell"]]).getReader();
      await watch.read();
      proxy.swallow();
      await direct.kv.atomic().set(["bell"], ONE).commit();
      const heard = (async () => {
        for (;;) {
          const { value, done } = await watch.read();
          // Or it would go round for ever once the test has failed.
          if (done) return undefined;
          if (value?.[0]?.value instanceof Uint8Array) return value[0].value;
        }
      })();
      const options = { ms: 20_000, describe: () => "the bell" };
      assert.deepEqual(await within(heard, options), ONE);
      await watch.cancel();
    } finally {
      kv.close();
    }
  },
);

denokvTest(
  "while a remote KV is gone all questions end in seconds, and none is left",
  async (denokv) => {
    await using opened = await openUntilEnd(denokv.url);
    const { kv } = opened;
    await kv.get(["a"]);
    await denokv.kill();
    const asked = Array.from({ length: 2_000 }, () => kv.get(["c"]));
    const all = await within(Promise.allSettled(asked), {
      ms: 8_000,
      describe: () => "the end of all questions",
    });
    assert.ok(all.every(({ status }) => status === "rejected"));
    await denokv.restart();
    assert.equal((await kv.get(["a"])).versionstamp, null);
  },
);

denokvTest(
  "close() ends what is under way, and lets the process end while the KV is gone",
  async (denokv) => {
    await using process = freshProcess([
      "--ext=ts",
      `data:text/typescript,${
        encodeURIComponent(`
        import { openDenoKv } from "${
          import.meta.resolve("../adapters/deno_kv.ts")
        }";
        const { kv, close } = await openDenoKv("${denokv.url}");
        const watch = kv.watch([["bell"]]).getReader();
        await watch.read();
        const rung = watch.read();
        console.log("open");
        for (let isThere = true; isThere;) {
          const commit = kv.atomic().set(["a"], new Uint8Array()).commit();
          isThere = await commit.then(() => true, () => false);
        }
        const read = kv.get(["a"]).then(() => "read", ({ message }) => message);
        await close();
        console.log("closed:", await read, (await rung).done);
      `)
      }`,
    ], denokv.env);
    await process.line(/^open$/);
    await denokv.kill();
    await process.line(/^closed: The KV is closed true$/);
    const { code } = await within(process.exited, {
      ms: 3_000,
      describe: () => `the end of the process\n${process.output}`,
    });
    assert.equal(code, 0);
  },
);
