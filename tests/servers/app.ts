/**
 * The application of the end-to-end tests as a process. Its settings come as
 * JSON in `APP_OPTIONS`; whatever is logged as an error goes to standard error,
 * where tests look for it.
 *
 * @module
 */
import { configure } from "@logtape/logtape";
import { onShutdownSignal } from "../../adapters/signals.ts";
import { createServer } from "../../server/mod.ts";
import { type AppProcessOptions, defineApp } from "../_app.ts";

const options: AppProcessOptions = JSON.parse(
  Deno.env.get("APP_OPTIONS") ?? "{}",
);

await configure({
  sinks: {
    errors: ({ level, message, properties }) => {
      if (level === "error" || level === "fatal") {
        console.error(level, message.join(""), properties["error"]);
      }
    },
  },
  loggers: [
    { category: "headwater", sinks: ["errors"], lowestLevel: "debug" },
    { category: ["logtape", "meta"], lowestLevel: "error" },
  ],
});

const server = createServer({ ...options.server, kv: options.kv });
defineApp(server);
server.handle("effect", async (_, { callId }) => {
  if (options.effects) {
    await Deno.writeTextFile(options.effects, `${callId}\n`, { append: true });
  }
  return callId;
}, { once: true });
server.handle("never", () => new Promise(() => {}));
server.handle("large", (bytes: number) => "x".repeat(bytes));
server.handle("memory", () => Deno.memoryUsage().rss);
// Not awaited: the call itself would be waited for.
server.handle("close", () => void server.close());
const undo = onShutdownSignal(() => void server.close().finally(undo));
await server.listen({
  ...options.listen,
  port: options.port ?? 0,
  host: "127.0.0.1",
});
console.log(`listening ${server.port}`);
