/** A remote KV that is not there when a server starts. */
import assert from "node:assert/strict";
import { createServer } from "../server/mod.ts";

/** A port of this machine on which nobody listens, or where nobody answers. */
function peer({ answers }: { answers: boolean }) {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  if (!answers) listener.close();
  return {
    url: `http://127.0.0.1:${port}`,
    [Symbol.dispose]: () => {
      if (answers) listener.close();
    },
  };
}

for (
  const { name, answers, reason } of [
    { name: "refuses", answers: false, reason: /Connection refused/i },
    // It takes connections, by its system, and says nothing.
    { name: "is silent", answers: true, reason: /did not answer in time/ },
  ]
) {
  Deno.test(`listen() says which KV it could not open, how long it tried, and why: it ${name}`, async () => {
    const before = Deno.env.get("DENO_KV_ACCESS_TOKEN");
    Deno.env.set("DENO_KV_ACCESS_TOKEN", "secret");
    try {
      using kv = peer({ answers });
      await using server = createServer({ kv: kv.url });
      await assert.rejects(
        server.listen({ host: "127.0.0.1", port: 0 }),
        ({ message }: Error) => {
          const [, where, seconds, why = ""] =
            /^Cannot open KV "(.*)", tried for (\d+) s: (.*)$/.exec(message) ??
              [message];
          assert.equal(where, kv.url);
          assert.ok(Number(seconds) >= 5 && Number(seconds) <= 10, message);
          assert.match(why, reason);
          assert.ok(!message.includes("secret"));
          return true;
        },
      );
    } finally {
      if (before === undefined) Deno.env.delete("DENO_KV_ACCESS_TOKEN");
      else Deno.env.set("DENO_KV_ACCESS_TOKEN", before);
    }
  });
}
