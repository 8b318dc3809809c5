import assert from "node:assert/strict";
import { checkUpgrade } from "../adapters/upgrade_request.ts";
import type { Upgrades } from "../adapters/ws_connections.ts";
import { listenWs } from "../adapters/ws_listen.ts";
import type { Socket, SocketEvents } from "../server/ports.ts";
import { socketContract, type SocketHost } from "./_socket_contract.ts";
import { upgradeContract } from "./_upgrade_contract.ts";

async function serve(
  accept: (socket: Socket) => SocketEvents,
): Promise<SocketHost> {
  const upgrades: Upgrades = new WeakMap();
  const listener = await listenWs(
    {
      host: "127.0.0.1",
      port: 0,
      limits: {
        messageBytes: 16 * 1024 * 1024,
        stateBytes: 1_000,
        helloMs: 10_000,
      },
    },
    (request) => {
      const answer = upgrades.get(request)?.(accept) ?? checkUpgrade(request);
      assert.ok(answer instanceof Response);
      return answer;
    },
    { upgrades },
  );
  return { port: listener.port, [Symbol.asyncDispose]: () => listener.close() };
}

socketContract("WsSocket", serve);
upgradeContract("checkUpgrade() of listenWs()", serve);
