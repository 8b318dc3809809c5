/**
 * The application of the end-to-end tests for `deno serve`, whose isolates each
 * run this file.
 *
 * @module
 */
import { onShutdownSignal } from "../../adapters/signals.ts";
import { createServer } from "../../server/mod.ts";
import { defineApp } from "../_app.ts";

const server = createServer({ kv: Deno.env.get("APP_KV") ?? ":memory:" });
defineApp(server);
onShutdownSignal(() => void server.close().finally(() => Deno.exit()));

export default { fetch: server.fetch };
