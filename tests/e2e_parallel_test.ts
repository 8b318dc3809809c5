/** Four isolates of `deno serve --parallel` over one KV file, and 200 clients. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { Crowd } from "./_crowd.ts";
import { DenoServe } from "./_deno_serve.ts";
import { tempKvPath } from "./_harness.ts";

const SCRIPT = fileURLToPath(import.meta.resolve("./servers/parallel.ts"));
const ISOLATES = 4;

Deno.test("4 isolates of deno serve --parallel and 200 clients: all are killed, all converge in one order, nothing acknowledged is lost or doubled", async () => {
  await using kv = await tempKvPath();
  await using app = await DenoServe.start({
    script: SCRIPT,
    env: { APP_KV: kv.path },
    isolates: ISOLATES,
  });
  await app.allThere();
  await using crowd = await Crowd.connect({
    clients: 200,
    ports: [app.port],
    rooms: 12,
  });
  await crowd.write(2);
  for (let kill = 0; kill < 2; kill++) {
    await crowd.write(3, async () => {
      await app.end("SIGKILL");
      await app.restart();
    });
  }
  await crowd.write(1);
  await crowd.assertTogether();
  assert.equal(crowd.acknowledged, 200 * 9);
  await app.allThere();
  assert.doesNotMatch(app.output, /error|panic/i);
  assert.equal((await app.end("SIGTERM")).code, 0);
});
