/** A simulation whose time cannot move on says so. */
import assert from "node:assert/strict";
import { VirtualClock } from "../adapters/testing/mod.ts";

Deno.test("VirtualClock.advance() ends where something happens at one moment for ever", async () => {
  const clock = new VirtualClock();
  const again = () => void clock.schedule(0, again);
  clock.schedule(5, again);
  await assert.rejects(clock.advance(10), /Time stands still at 5 ms/);
});

Deno.test("VirtualClock.advance() bears that much happens, while time moves on", async () => {
  const clock = new VirtualClock();
  let left = 400_000;
  const again = () => {
    if (--left > 0) clock.schedule(left % 2, again);
  };
  again();
  await clock.advance(400_000);
  assert.equal(left, 0);
});
