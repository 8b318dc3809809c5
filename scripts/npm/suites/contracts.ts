/**
 * The contract suites of `Kv`, `Socket` and `Listener`, on what Node has of them.
 *
 * @module
 */
import "./deno_on_node.ts";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { lendNodeKv, openNodeKv } from "../../../adapters/node_kv.ts";
import { nodePorts } from "../../../adapters/node_ports.ts";
import type { OpenedKv, Socket, SocketEvents } from "../../../server/ports.ts";
import { kvContract } from "../../../tests/_kv_contract.ts";
import { listenerContract } from "../../../tests/_listener_contract.ts";
import {
  socketContract,
  type SocketHost,
} from "../../../tests/_socket_contract.ts";
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
  const answer = await fetch(`${denokvs}/start`, { method: "POST" });
  const { url, token } = await answer.json() as { url: string; token: string };
  process.env["DENO_KV_ACCESS_TOKEN"] = token;
  return disposable(await openNodeKv(url), async () => {
    await fetch(`${denokvs}/end`, { method: "POST", body: url });
  });
}, { isLocal: false, isMissing: denokvs === undefined });

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
