import assert from "node:assert/strict";
import { denoPorts } from "../adapters/deno_ports.ts";
import type { Random } from "../server/ports.ts";
import type { Answer, Session } from "../server/session.ts";
import { Sessions } from "../server/sessions.ts";
import { FakeClock } from "./_fake_clock.ts";

const { random } = denoPorts();

function open(
  kv: Deno.Kv,
  options: { clock?: FakeClock; sessionMs?: number; random?: Random } = {},
) {
  const { clock = new FakeClock(), sessionMs = 3_600_000 } = options;
  return new Sessions({
    kv,
    clock,
    random: options.random ?? random,
    sessionMs,
  });
}

function answer(bytes = 10): Answer {
  return { frame: new Uint8Array(bytes), written: [] };
}

/** Runs a call to its end, and lets the session keep its answer. */
async function run(
  session: Session,
  call: number,
  oldest: number,
  bytes?: number,
): Promise<boolean> {
  let hasRun = false;
  await session.answer(call, oldest, () => {
    hasRun = true;
    return Promise.resolve(answer(bytes));
  });
  return hasRun;
}

Deno.test("Sessions issues sessions of their own, and knows them again on any server over the same KV", async () => {
  using kv = await Deno.openKv(":memory:");
  const [first, second] = [open(kv), open(kv)];
  // Both make the secret at once: one of them wins.
  const [a, b] = await Promise.all([first.begin({}), second.begin({})]);
  assert.equal(a.resumed, false);
  assert.notEqual(a.session.id, b.session.id);
  assert.notEqual(a.session.clientId, b.session.clientId);
  for (const sessions of [first, second, open(kv)]) {
    for (const { session } of [a, b]) {
      const again = await sessions.begin({ resume: session.token });
      assert.equal(again.resumed, true);
      const { id, clientId, issuedAtMs, token } = again.session;
      assert.deepEqual({ id, clientId, issuedAtMs, token }, {
        id: session.id,
        clientId: session.clientId,
        issuedAtMs: session.issuedAtMs,
        token: session.token,
      });
    }
  }
});

Deno.test("Sessions refuses every token that it has not signed as it is", async () => {
  using kv = await Deno.openKv(":memory:");
  using other = await Deno.openKv(":memory:");
  const sessions = open(kv);
  const { session: { token } } = await sessions.begin({});
  const { session: foreign } = await open(other).begin({});
  const parts = token.split(".");
  const forged = [
    foreign.token,
    "",
    "...",
    token + ".",
    token + "A",
    token.slice(0, -1),
    token.toUpperCase(),
    ` ${token}`,
    ["someoneelse", ...parts.slice(1)].join("."),
    [parts[0], "anothersession", ...parts.slice(2)].join("."),
    [parts[0], parts[1], "zzzzzzzz", parts[3]].join("."),
    // The same time, written otherwise: there is one token for each session.
    [parts[0], parts[1], `0${parts[2]}`, parts[3]].join("."),
    [parts[0], parts[1], `${parts[2]} `, parts[3]].join("."),
    "a.b.NaN.c",
    "x".repeat(100_000),
    "\u0000.\u0000.0.\u0000",
  ];
  for (const resume of forged) {
    const { session, resumed } = await sessions.begin({ resume });
    assert.equal(resumed, false, resume.slice(0, 80));
    assert.notEqual(session.token, resume);
    const { session: fresh } = await sessions.begin({ identity: resume });
    assert.notEqual(fresh.clientId, "someoneelse");
  }
});

Deno.test("Sessions keeps the client id of a session that is over or only named as identity", async () => {
  using kv = await Deno.openKv(":memory:");
  const clock = new FakeClock();
  const sessions = open(kv, { clock, sessionMs: 1_000 });
  const { session } = await sessions.begin({});
  const named = await sessions.begin({ identity: session.token });
  assert.equal(named.resumed, false);
  assert.equal(named.session.clientId, session.clientId);
  assert.notEqual(named.session.id, session.id);
  await clock.advance(999);
  assert.equal(sessions.isExpired(session), false);
  assert.equal((await sessions.begin({ resume: session.token })).resumed, true);
  await clock.advance(1);
  assert.equal(sessions.isExpired(session), true);
  const late = await sessions.begin({ resume: session.token });
  assert.equal(late.resumed, false);
  assert.equal(late.session.clientId, session.clientId);
});

Deno.test("Sessions forgets a session with its last connection, one with answers a while later", async () => {
  using kv = await Deno.openKv(":memory:");
  const clock = new FakeClock();
  const sessions = open(kv, { clock });
  const { session } = await sessions.begin({});
  const again = await sessions.begin({ resume: session.token });
  assert.equal(
    again.session,
    session,
    "both connections have the same answers",
  );
  sessions.release(session);
  assert.equal(sessions.size, 1);
  sessions.release(session);
  assert.equal(sessions.size, 0);

  const { session: busy } = await sessions.begin({});
  await run(busy, 1, 1);
  sessions.release(busy);
  assert.equal(sessions.size, 1);
  await clock.advance(60_000);
  const back = await sessions.begin({ resume: busy.token });
  assert.equal(await run(back.session, 1, 1), false, "the answer was kept");
  assert.equal(clock.pendingTimers, 0, "it is in use again");
  sessions.release(busy);
  await clock.advance(2 * 60_000);
  assert.equal(sessions.size, 0);
  const { session: later } = await sessions.begin({ resume: busy.token });
  assert.equal(
    await run(later, 1, 1),
    true,
    "the answer was forgotten, and the call runs again",
  );
  sessions.close();
  assert.equal(sessions.size, 0);
  assert.equal(clock.pendingTimers, 0);
});

Deno.test("Sessions derives ids that are the same on any server, and different for each call and place", async () => {
  using kv = await Deno.openKv(":memory:");
  const [first, second] = [open(kv), open(kv)];
  const { session } = await first.begin({});
  const { session: same } = await second.begin({ resume: session.token });
  const { session: other } = await first.begin({});
  const ids = new Set<string>();
  for (let call = 1; call <= 12; call++) {
    for (let n = 0; n < 12; n++) {
      const id = first.deriveId(session, call, n);
      assert.equal(second.deriveId(same, call, n), id);
      assert.match(id, /^[\w-]{16}$/);
      ids.add(id).add(first.deriveId(other, call, n));
    }
  }
  assert.equal(ids.size, 2 * 12 * 12);
});

Deno.test("Session runs a call once while its answer is kept, and forgets those below the oldest", async () => {
  using kv = await Deno.openKv(":memory:");
  const { session } = await open(kv).begin({});
  assert.equal(await run(session, 1, 1), true);
  assert.equal(await run(session, 2, 1), true);
  assert.equal(await run(session, 1, 1), false);
  assert.equal(await run(session, 3, 3), true);
  assert.equal(session.oldest, 3);
  // A later call cannot bring back what an earlier one gave up.
  assert.equal(await run(session, 4, 1), true);
  assert.equal(session.oldest, 3);
  assert.equal(await run(session, 3, 1), false);
});

Deno.test("Session does not keep a large answer, nor one of a run that failed", async () => {
  using kv = await Deno.openKv(":memory:");
  const { session } = await open(kv).begin({});
  assert.equal(await run(session, 1, 1, 64 * 1024), true);
  assert.equal(await run(session, 1, 1), false);
  assert.equal(await run(session, 2, 1, 64 * 1024 + 1), true);
  assert.equal(await run(session, 2, 1), true);
  const failing = session.answer(3, 1, () => Promise.reject(new Error("KV")));
  await assert.rejects(failing, /KV/);
  assert.equal(await run(session, 3, 1), true);
});

Deno.test("Session keeps bounded memory for a client that never gives up an answer", async () => {
  using kv = await Deno.openKv(":memory:");
  const { session } = await open(kv).begin({});
  for (let call = 1; call <= 2_000; call++) {
    await run(session, call, 1, 60 * 1024);
  }
  assert.ok(
    session.keptBytes <= 1024 * 1024,
    `${session.keptBytes} bytes are kept`,
  );
  assert.equal(await run(session, 2_000, 1), false, "the newest are kept");
  assert.equal(await run(session, 1, 1), true, "the first ones are not");
  await run(session, 2_001, 2_001);
  assert.ok(session.keptBytes < 1_000, "what is given up costs nothing");
  for (let call = 2_002; call <= 20_000; call++) {
    await run(session, call, 2_001, 1);
  }
  assert.ok(session.keptBytes <= 1024 * 1024, "many small ones count, too");
});
