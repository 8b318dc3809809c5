import assert from "node:assert/strict";
import { Credentials } from "../client/credentials.ts";
import { Outbox } from "../client/outbox.ts";
import type { HelloFrame, WelcomeFrame } from "../protocol/frames.ts";
import { FakeClock } from "./_fake_clock.ts";

const HELLO: HelloFrame = { type: "hello", protocol: 1 };

function welcome(session: string, resumed: boolean): WelcomeFrame {
  return {
    type: "welcome",
    protocol: 1,
    clientId: "c",
    session,
    resumed,
    sessionMs: 1_000,
    heartbeatMs: 0,
    messageBytes: 1_000,
    serverId: "s",
  };
}

Deno.test("Credentials adds the token to a hello: at once where it is a text, else when it is there", async () => {
  assert.deepEqual(new Credentials(undefined).complete(() => HELLO), HELLO);
  assert.deepEqual(new Credentials("t").complete(() => HELLO), {
    ...HELLO,
    token: "t",
  });
  const { promise, resolve } = Promise.withResolvers<string>();
  let hellos = 0;
  const completed = new Credentials(() => promise).complete(() => {
    hellos++;
    return HELLO;
  });
  // What a hello says has to be as of when it is sent.
  assert.equal(hellos, 0);
  resolve("later");
  assert.deepEqual(await completed, { ...HELLO, token: "later" });
});

Deno.test("Credentials tells those who wait by the welcome that answers their token, and by no other", async () => {
  const credentials = new Credentials("a");
  credentials.complete(() => HELLO);
  credentials.use("b");
  let isTaken = false;
  const taken = credentials.taken().then(() => isTaken = true);
  // It answers the first.
  credentials.welcomed();
  await Promise.resolve();
  assert.equal(isTaken, false);
  credentials.prepare(() => {});
  assert.equal(credentials.isDue, true);
  assert.deepEqual(credentials.refresh(HELLO), { ...HELLO, token: "b" });
  assert.equal(credentials.isDue, false);
  credentials.welcomed();
  await taken;
});

Deno.test("Outbox.refresh() goes on with the session, and sends nothing before its welcome", () => {
  const outbox = new Outbox({
    clock: new FakeClock(),
    timeoutMs: Infinity,
    onDue: () => {},
  });
  const request = {
    name: "f",
    action: "call",
    timesOut: false,
    encode: ({ id }: { id: number }) => new Uint8Array([id]),
  };
  const numbers = () => outbox.takeFrames(1_000).map(([id]) => id);
  assert.equal(outbox.refresh(), undefined);
  outbox.hello();
  outbox.welcomed(welcome("s1", false));
  outbox.add(request);
  assert.deepEqual(numbers(), [1]);
  assert.deepEqual(outbox.refresh(), { ...HELLO, session: "s1" });
  assert.equal(outbox.refresh(), undefined);
  outbox.add(request);
  assert.deepEqual(numbers(), []);
  outbox.welcomed(welcome("s1", true));
  assert.deepEqual(numbers(), [2]);
  // The session was over: what had been sent in it is unknown, and no number comes twice.
  outbox.refresh();
  outbox.welcomed(welcome("s2", false));
  outbox.add(request);
  assert.deepEqual([numbers(), outbox.size], [[3], 1]);
});
