/**
 * The server that is fuzzed, as a process of its own: real sockets and a real KV.
 * Whatever it logs as an error goes to standard error, where the fuzzer looks; an
 * unhandled rejection ends the process. Its argument is the transport.
 *
 * @module
 */
import { denoPorts } from "../../adapters/deno_ports.ts";
import { FuzzedApp, watchLog } from "./fuzzed_app.ts";

await watchLog((text) => console.error(text));
const ports = denoPorts();
const { kv } = await ports.openKv(":memory:");
const memory = () => Deno.memoryUsage().rss;
const { server } = new FuzzedApp({ kv, ports, memory });
const transport = Deno.args[0] === "hardened" ? "hardened" : "native";
await server.listen({ port: 0, host: "127.0.0.1", transport });
console.log(`listening ${server.port}`);
