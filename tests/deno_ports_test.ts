import assert from "node:assert/strict";
import { denoPorts } from "../adapters/deno_ports.ts";
import { within } from "./_waiting.ts";

const { clock, random, createAmbient } = denoPorts();

Deno.test("clock.setTimer() calls once after the time, unless it is cancelled", async () => {
  const calls: string[] = [];
  const started = clock.monotonic();
  const cancelled = clock.setTimer(5, () => calls.push("cancelled"));
  await new Promise<void>((resolve) => {
    clock.setTimer(30, () => resolve());
    clock.setTimer(10, () => calls.push("ten"));
    cancelled.cancel();
    cancelled.cancel();
  });
  assert.ok(clock.monotonic() - started >= 29);
  assert.deepEqual(calls, ["ten"]);
});

Deno.test("clock.setTimer() of months does not fire at once", async () => {
  let isCalled = false;
  const timer = clock.setTimer(90 * 24 * 3_600_000, () => isCalled = true);
  await new Promise<void>((resolve) => clock.setTimer(20, resolve));
  timer.cancel();
  assert.equal(isCalled, false);
});

Deno.test("clock.defer() runs after due microtasks and before timers, in order", async () => {
  const calls: string[] = [];
  await new Promise<void>((resolve) => {
    clock.setTimer(200, () => {
      calls.push("timer");
      resolve();
    });
    clock.defer(() => calls.push("first"));
    clock.defer(() => calls.push("second"));
    queueMicrotask(() => queueMicrotask(() => calls.push("microtask")));
    calls.push("now");
  });
  assert.deepEqual(calls, ["now", "microtask", "first", "second", "timer"]);
});

Deno.test("clock.now() is the time of the day", () => {
  assert.ok(Math.abs(clock.now() - Date.now()) < 1_000);
});

Deno.test("random.bytes() and random.float() differ each time", () => {
  assert.equal(random.bytes(32).length, 32);
  assert.equal(
    new Set(Array.from({ length: 100 }, () => random.bytes(16).join())).size,
    100,
  );
  const floats = Array.from({ length: 1_000 }, () => random.float());
  assert.ok(floats.every((value) => value >= 0 && value < 1));
  assert.ok(new Set(floats).size > 990);
});

Deno.test("ambient.get() gives the innermost value across awaits, timers and KV, apart for each run", async () => {
  const ambient = createAmbient();
  const other = createAmbient();
  using kv = await Deno.openKv(":memory:");
  const outer = { name: "outer" };
  const inner = { name: "inner" };
  const visit = async (value: object) => {
    assert.equal(ambient.get(), value);
    await kv.get(["a"]);
    assert.equal(ambient.get(), value);
    await new Promise<void>((resolve) =>
      clock.defer(() => clock.setTimer(1, resolve))
    );
    assert.equal(ambient.get(), value);
    assert.equal(other.get(), undefined);
    return value;
  };
  const results = await within(
    Promise.all([
      ambient.run(outer, async () => {
        await visit(outer);
        const result = await ambient.run(inner, () => visit(inner));
        assert.equal(ambient.get(), outer);
        return result;
      }),
      ambient.run(inner, () => visit(inner)),
    ]),
    { describe: () => "both runs" },
  );
  assert.deepEqual(results, [inner, inner]);
  assert.equal(ambient.get(), undefined);
  assert.throws(
    () => ambient.run(outer, () => assert.fail("thrown")),
    /thrown/,
  );
  assert.equal(ambient.get(), undefined);
});
