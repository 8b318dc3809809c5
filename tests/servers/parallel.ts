/**
 * The application of the end-to-end tests for `deno serve`, whose isolates each
 * run this file.
 *
 * @module
 */
import { serve } from "../../adapters/serve.ts";
import { createServer } from "../../server/mod.ts";
import { defineApp } from "../_app.ts";

const server = createServer({ kv: Deno.env.get("APP_KV") ?? ":memory:" });
defineApp(server);

export default serve(server);
