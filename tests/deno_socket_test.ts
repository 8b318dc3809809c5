import { listenDeno } from "../adapters/deno_listen.ts";
import { upgradeDeno } from "../adapters/deno_socket.ts";
import type { Socket, SocketEvents } from "../server/ports.ts";
import { socketContract, type SocketHost } from "./_socket_contract.ts";
import { upgradeContract } from "./_upgrade_contract.ts";

async function serve(
  accept: (socket: Socket) => SocketEvents,
): Promise<SocketHost> {
  const listener = await listenDeno(
    { host: "127.0.0.1", port: 0 },
    (request) => upgradeDeno(request, accept),
  );
  return { port: listener.port, [Symbol.asyncDispose]: () => listener.close() };
}

socketContract("upgradeDeno()", serve);
upgradeContract("upgradeDeno()", serve);
