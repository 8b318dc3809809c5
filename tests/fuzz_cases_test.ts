/**
 * What the fuzzer has found, pinned. A case is the line that it prints, with a
 * name that says what went wrong, and the code by which it is refused now.
 */
import assert from "node:assert/strict";
import { denoPorts } from "../adapters/deno_ports.ts";
import { failureOf, type FuzzCase } from "../scripts/fuzz/cases.ts";
import { CodecTarget } from "../scripts/fuzz/codec_target.ts";
import { CallScope } from "../server/call_scope.ts";
import { WRITES_PER_CALL } from "../server/log/mutation.ts";
import type { Session } from "../server/session.ts";
import { Sessions } from "../server/sessions.ts";
import { FakeClock } from "./_fake_clock.ts";
import cases from "./data/fuzz_cases.json" with { type: "json" };

/** A case as it is kept. */
interface PinnedCase extends FuzzCase {
  readonly name: string;
  readonly refused?: string;
}

Deno.test("the cases that the fuzzer has found do not fail any more", async (t) => {
  const codec = await CodecTarget.create();
  // The file has no type of its own; a target that is none fails below.
  for (const input of cases as readonly PinnedCase[]) {
    await t.step(`${input.decoder}: ${input.name}`, async () => {
      assert.equal(await failureOf(input), undefined);
      if (input.target !== "codec" || input.refused === undefined) return;
      for (const hex of input.hex) {
        const bytes = Uint8Array.fromHex(hex);
        const { code } = await codec.runCase({ decoder: input.decoder, bytes });
        assert.equal(code, input.refused);
      }
    });
  }
});

/** Runs a call to its end, and lets the session keep its answer. */
async function answer(
  session: Session,
  call: number,
  bytes: number,
): Promise<void> {
  await session.answer(
    call,
    1,
    () => Promise.resolve({ frame: new Uint8Array(bytes), written: [] }),
  );
}

Deno.test("Sessions keeps a bounded amount for clients that come and go, the newest", async () => {
  using kv = await Deno.openKv(":memory:");
  const clock = new FakeClock();
  const { random } = denoPorts();
  const sessions = new Sessions({ kv, clock, random, sessionMs: 3_600_000 });
  const comeAndGo = async (bytes: number) => {
    const { session } = await sessions.begin({});
    for (let call = 1; call <= 8; call++) await answer(session, call, bytes);
    sessions.release(session);
    return session;
  };
  const first = await comeAndGo(60_000);
  // One call of this one runs on: it must be known for as long as it does.
  const { session: busy } = await sessions.begin({});
  const running = Promise.withResolvers<never>();
  void busy.answer(1, 1, () => running.promise);
  sessions.release(busy);
  let last = first;
  for (let n = 0; n < 300; n++) last = await comeAndGo(60_000);
  // 300 times 480 KB are 144 MB.
  assert.ok(sessions.size < 100, `${sessions.size} sessions are kept`);
  const again = async ({ token }: Session) =>
    (await sessions.begin({ resume: token })).session;
  assert.equal(await again(last), last);
  assert.equal(await again(busy), busy);
  assert.notEqual(await again(first), first);
  // Whoever is back counts no more, and is kept.
  for (let n = 0; n < 300; n++) await comeAndGo(60_000);
  assert.equal(await again(last), last);
  sessions.close();
});

Deno.test("CallScope refuses more writes than a record of them may number", () => {
  const scope = new CallScope(
    { session: "s", issuedAtMs: 0, call: 1, oldest: 1 },
    { clientId: "c", user: null },
  );
  const id = { namespace: "default", name: "Todos" };
  for (let n = 0; n < WRITES_PER_CALL; n++) scope.nextOrigin(id);
  assert.throws(() => scope.nextOrigin(id), {
    code: "limit",
    message:
      'Cannot write to store "Todos": 1048577 is over the limit writesPerCall of 1048576, which cannot be changed',
  });
  assert.equal(scope.nextOrigin({ ...id, name: "Other" }).n, 0);
});
