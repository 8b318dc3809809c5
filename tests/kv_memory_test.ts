import assert from "node:assert/strict";
import { openDenoKv } from "../adapters/deno_kv.ts";
import { kvContract } from "./_kv_contract.ts";

kvContract("openDenoKv(:memory:)", async () => {
  const opened = await openDenoKv(":memory:");
  return { ...opened, [Symbol.asyncDispose]: opened.close };
}, { isLocal: true });

Deno.test("openDenoKv() gives each call a memory of its own", async () => {
  const [one, two] = await Promise.all([
    openDenoKv(":memory:"),
    openDenoKv(":memory:"),
  ]);
  await one.kv.atomic().set(["a"], new Uint8Array([1])).commit();
  assert.equal((await two.kv.get(["a"])).versionstamp, null);
  await one.close();
  assert.equal(
    (await two.kv.get(["a"])).versionstamp,
    null,
    "the other one is still open",
  );
  await two.close();
});
