/**
 * The contract suites of `Kv`, `Socket` and `Listener`, on what Node has of them.
 *
 * @module
 */
import "./deno_on_node.ts";
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { KvU64 } from "../../../adapters/kv_connect/messages.ts";
import { lendNodeKv, openNodeKv } from "../../../adapters/node_kv.ts";
import { nodePorts } from "../../../adapters/node_ports.ts";
import type { OpenedKv, Socket, SocketEvents } from "../../../server/ports.ts";
import { kvContract } from "../../../tests/_kv_contract.ts";
import { listenerContract } from "../../../tests/_listener_contract.ts";
import {
  socketContract,
  type SocketHost,
} from "../../../tests/_socket_contract.ts";
import { startProxy } from "../../../tests/_tcp_proxy.ts";
import { upgradeContract } from "../../../tests/_upgrade_contract.ts";
import { openKv } from "@deno/kv";

kvContract(
  "openNodeKv(:memory:)",
  async () => disposable(await openNodeKv(":memory:")),
  { isLocal: true },
);

kvContract("openNodeKv(file)", async () => {
  const folder = await mkdtemp(join(tmpdir(), "headwater_kv_"));
  return disposable(
    await openNodeKv(join(folder, "state.db")),
    () => rm(folder, { recursive: true }),
  );
}, { isLocal: true });

kvContract("lendNodeKv(an opened KV)", async () => {
  const own = await openKv(":memory:");
  const lent = lendNodeKv(own);
  let isClosed = false;
  const close = async () => {
    if (isClosed) return;
    isClosed = true;
    await lent.close();
    own.close();
  };
  return { ...lent, close, [Symbol.asyncDispose]: close };
}, { isLocal: true });

const denokvs = process.env["HEADWATER_DENOKVS"];
kvContract("openNodeKv(denokv)", async () => {
  const denokv = await startDenokv();
  return disposable(
    await openNodeKv(denokv.url),
    async () => await denokv[Symbol.asyncDispose](),
  );
}, { isLocal: false, isMissing: denokvs === undefined });

Deno.test("openNodeKv() shares one handle, closed with its last user", async () => {
  const folder = await mkdtemp(join(tmpdir(), "headwater_kv_"));
  const path = join(folder, "deep", "state.db");
  const [one, two] = await Promise.all([openNodeKv(path), openNodeKv(path)]);
  assert.equal(one.kv, two.kv);
  await one.close();
  await one.close();
  await two.kv.atomic().set(["a"], new Uint8Array([1])).commit();
  await two.close();
  await assert.rejects(async () => await two.kv.get(["a"]));
  const again = await openNodeKv(path);
  assert.deepEqual((await again.kv.get(["a"])).value, new Uint8Array([1]));
  await again.close();
  await rm(folder, { recursive: true });
});

Deno.test({
  name: "a write to denokv whose answer is lost is not sent again by Node",
  ignore: denokvs === undefined,
  fn: async () => {
    await using denokv = await startDenokv();
    await using proxy = await startProxy(Number(new URL(denokv.url).port));
    const opened = await openNodeKv(`http://127.0.0.1:${proxy.port}`);
    await opened.kv.get(["warm"]);
    let thrown = 0;
    for (let n = 0; n < 40; n++) {
      // Each adds one, without a check that would keep a second one out.
      if (n % 2 === 0) proxy.cutAfter(10);
      await opened.kv.atomic().sum(["count"], 1n).commit().catch(() => {
        thrown++;
      });
    }
    assert.equal(thrown, 20);
    const { value } = await opened.kv.get(["count"]);
    assert.deepEqual(value, new KvU64(40n));
    await opened.close();
  },
});

/** An empty denokv, which this process may open. */
async function startDenokv(): Promise<AsyncDisposable & { url: string }> {
  const answer = await fetch(`${denokvs}/start`, { method: "POST" });
  const { url, token } = await answer.json() as { url: string; token: string };
  process.env["DENO_KV_ACCESS_TOKEN"] = token;
  return {
    url,
    async [Symbol.asyncDispose]() {
      await fetch(`${denokvs}/end`, { method: "POST", body: url });
    },
  };
}

function disposable(
  opened: OpenedKv,
  after: () => Promise<void> = () => Promise.resolve(),
): OpenedKv & AsyncDisposable {
  const dispose = async () => {
    await opened.close();
    await after();
  };
  return { ...opened, [Symbol.asyncDispose]: dispose };
}

async function serve(
  accept: (socket: Socket) => SocketEvents,
): Promise<SocketHost> {
  const { listen, upgrade } = nodePorts();
  const limits = {
    messageBytes: 16 * 1024 * 1024,
    stateBytes: 1_000,
    helloMs: 10_000,
  };
  const listener = await listen(
    { host: "127.0.0.1", port: 0, limits },
    (request) => upgrade(request, accept),
  );
  return { port: listener.port, [Symbol.asyncDispose]: () => listener.close() };
}

socketContract("A socket of Node", serve);
upgradeContract("upgrade() of Node", serve);
listenerContract("listen() of Node", nodePorts);
