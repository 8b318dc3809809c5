/**
 * Resume, from servers that cannot have it in memory: a process that was killed
 * and started again, and a server that has never seen the client. The state is
 * so large that a snapshot would show, and what is asserted is what came over
 * the wire.
 */
import assert from "node:assert/strict";
import type { ResumeToken } from "../protocol/frames.ts";
import { createServer, type Kv } from "../server/mod.ts";
import { readHead } from "../server/log/reader.ts";
import {
  callValue,
  rawCall,
  rawSubscribe,
  sendCall,
  startApp,
  startAppProcess,
  tokenOf,
  typesOf,
} from "./_app.ts";
import { RawClient, tempKvPath, until } from "./_harness.ts";

const SNAPSHOT_BYTES = 200 * 1024;
const MISSED = 10;

/** Steps that put "edit n" into row n. */
function edits(from: number, to: number) {
  return Array.from({ length: to - from }, (_, i) => ({
    op: "replace",
    path: ["rows", from + i, "text"],
    value: `edit ${from + i}`,
  }));
}

/** Subscribes to "Big" and goes; returns where it stood. */
async function visit(port: number): Promise<ResumeToken> {
  await using client = await RawClient.connect(port);
  await client.hello();
  const snap = await rawSubscribe(client, "Big");
  assert.equal(snap.type, "snap");
  assert.ok(
    client.bytes > SNAPSHOT_BYTES,
    `a snapshot of ${client.bytes} bytes would not show`,
  );
  return tokenOf(snap);
}

/** Makes `count` edits, each a commit of its own; returns where the last one led. */
async function edit(port: number, count = MISSED): Promise<ResumeToken> {
  await using client = await RawClient.connect(port);
  await client.hello();
  await rawSubscribe(client, "Big");
  for (let row = 0; row < count; row++) {
    await callValue(client, row + 1, "big.row", { row, text: `edit ${row}` });
  }
  const snap = await rawSubscribe(client, "Big");
  return tokenOf(snap);
}

/** Comes back with a token: the answer, and all that came over the wire with it. */
async function comeBack(port: number, token: ResumeToken) {
  await using client = await RawClient.connect(port);
  await client.hello();
  const frame = await rawSubscribe(client, "Big", token);
  // What else there may be comes before the answer to this.
  await rawCall(client, 1, { name: "echo" });
  return { frame, bytes: client.bytes, types: typesOf(client) };
}

Deno.test("a client resumes at a process that was killed and started again, by exactly what it missed", async () => {
  await using kv = await tempKvPath();
  let token: ResumeToken;
  let newest: ResumeToken;
  {
    await using app = await startAppProcess({ kv: kv.path });
    token = await visit(app.port);
    newest = await edit(app.port);
    await app.process.kill();
  }
  await using app = await startAppProcess({ kv: kv.path });
  const { frame, bytes, types } = await comeBack(app.port, token);
  assert.deepEqual(types, ["welcome", "resume", "res"]);
  assert.ok(frame.type === "resume");
  assert.equal(frame.from, token.version);
  assert.deepEqual(tokenOf(frame), newest);
  assert.deepEqual(frame.patch, edits(0, MISSED));
  assert.ok(bytes <= 500, `${bytes} bytes for ${MISSED} small changes`);
});

Deno.test("a client resumes at a second server that has never seen it, while the first goes on", async () => {
  await using kv = await tempKvPath();
  await using first = await startAppProcess({ kv: kv.path });
  const token = await visit(first.port);
  const newest = await edit(first.port);
  await using second = await startAppProcess({ kv: kv.path });
  const { frame, bytes, types } = await comeBack(second.port, token);
  assert.deepEqual(types, ["welcome", "resume", "res"]);
  assert.ok(frame.type === "resume");
  assert.deepEqual(tokenOf(frame), newest);
  assert.deepEqual(frame.patch, edits(0, MISSED));
  assert.ok(bytes <= 500, `${bytes} bytes for ${MISSED} small changes`);
});

Deno.test("a client that missed nothing gets an empty resume", async () => {
  await using kv = await tempKvPath();
  let newest: ResumeToken;
  {
    await using app = await startApp({ kv: kv.path });
    newest = await edit(app.port);
  }
  await using app = await startApp({ kv: kv.path });
  const { frame, types } = await comeBack(app.port, newest);
  assert.deepEqual(types, ["welcome", "resume", "res"]);
  assert.ok(frame.type === "resume");
  assert.deepEqual(frame.patch, []);
  assert.deepEqual(tokenOf(frame), newest);
});

Deno.test("a resume may begin in the middle of a batch, at a server with and without it in memory", async () => {
  await using kv = await tempKvPath();
  let token: ResumeToken;
  const check = async (port: number) => {
    const { frame, types } = await comeBack(port, {
      ...token,
      version: token.version - 4,
    });
    assert.deepEqual(types, ["welcome", "resume", "res"]);
    assert.ok(frame.type === "resume");
    assert.deepEqual(frame.patch, edits(MISSED - 4, MISSED));
    assert.deepEqual(tokenOf(frame), token);
  };
  {
    await using app = await startApp({ kv: kv.path });
    await using client = await RawClient.connect(app.port);
    await client.hello();
    await rawSubscribe(client, "Big");
    client.send(...Array.from({ length: MISSED }, (_, row) => ({
      type: "rpc" as const,
      id: row + 1,
      oldest: 1,
      elapsedMs: 0,
      name: "big.row",
      args: { row, text: `edit ${row}` },
    })));
    const patch = await client.next("patch");
    // All of them in one commit, or this would prove nothing.
    assert.equal(patch.version - patch.from, MISSED);
    token = tokenOf(await rawSubscribe(client, "Big"));
    await check(app.port);
  }
  await using app = await startApp({ kv: kv.path });
  await check(app.port);
});

for (
  const [what, change] of [
    [
      "another writer",
      (token: ResumeToken) => ({ ...token, writer: "writerwriter" }),
    ],
    [
      "another epoch",
      (token: ResumeToken) => ({ ...token, epoch: "epochepochep" }),
    ],
    [
      "the writer of another version",
      (token: ResumeToken) => ({ ...token, version: token.version + 1 }),
    ],
  ] as const
) {
  Deno.test(`a token with ${what} is not believed: the answer is a snapshot`, async () => {
    await using kv = await tempKvPath();
    let old: ResumeToken;
    let newest: ResumeToken;
    {
      await using app = await startApp({ kv: kv.path });
      old = await visit(app.port);
    }
    {
      // Another load of the store, so another writer from here on.
      await using app = await startApp({ kv: kv.path });
      newest = await edit(app.port, 2);
      assert.notEqual(old.writer, newest.writer);
      const { frame } = await comeBack(app.port, change(old));
      assert.equal(frame.type, "snap", "at the server that has it in memory");
      assert.deepEqual(tokenOf(frame), newest);
    }
    await using app = await startApp({ kv: kv.path });
    const { frame, types } = await comeBack(app.port, change(old));
    assert.deepEqual(types, ["welcome", "snap", "res"]);
    assert.deepEqual(tokenOf(frame), newest);
  });
}

Deno.test("a token from ahead of the KV gets a new epoch, never an older version of the same", async () => {
  await using app = await startApp();
  const token = await visit(app.port);
  await using other = await RawClient.connect(app.port);
  await other.hello();
  await rawSubscribe(other, "Big");
  const { frame } = await comeBack(app.port, {
    ...token,
    version: token.version + 5,
  });
  assert.equal(frame.type, "snap");
  assert.notEqual(frame.epoch, token.epoch);
  // Those who were there go on in the new epoch, too.
  assert.equal((await other.next("snap")).epoch, frame.epoch);
});

Deno.test("a client whose versions were compacted away gets a snapshot, one that is above them a resume", async () => {
  using kv = await Deno.openKv(":memory:");
  const options = { history: { versions: 20 } };
  let first: ResumeToken;
  let later: ResumeToken;
  let lines: string[];
  {
    await using app = await startServer(kv, options);
    await using client = await RawClient.connect(app.port);
    await client.hello();
    first = tokenOf(await rawSubscribe(client, "Lines"));
    for (let id = 1; id <= 200; id++) {
      await callValue(client, id, "write", { text: `${id}`.padEnd(900) });
    }
    const floor = async () =>
      (await readHead(kv, { namespace: "default", name: "Lines" }))?.head
        .floor ?? 0;
    await until(async () => await floor() > first.version);
    later = tokenOf(await rawSubscribe(client, "Lines"));
    for (let id = 201; id <= 203; id++) {
      await callValue(client, id, "write", { text: `${id}` });
    }
    lines = ["201", "202", "203"];
  }
  await using app = await startServer(kv, options);
  await using client = await RawClient.connect(app.port);
  await client.hello();
  assert.equal((await rawSubscribe(client, "Lines", first)).type, "snap");
  const resumed = await rawSubscribe(client, "Lines", later);
  assert.ok(resumed.type === "resume");
  assert.equal(resumed.version - resumed.from, 3);
  assert.deepEqual(
    resumed.patch.map((step) => "value" in step ? step.value : step),
    [lines[2]],
  );
  sendCall(client, 1, { name: "write", args: { text: "on" } });
  assert.equal((await client.next("patch")).version, resumed.version + 1);
});

Deno.test("a store that is written all the time is resumed all the same, from the log", async () => {
  await using kv = await tempKvPath();
  let token: ResumeToken;
  {
    await using app = await startApp({ kv: kv.path });
    token = await visit(app.port);
    await edit(app.port);
  }
  await using app = await startApp({ kv: kv.path });
  let isWriting = true;
  const writing = (async () => {
    for (let n = 0; isWriting; n++) {
      await app.big.update((draft) => {
        draft.title = `${n}`;
      });
    }
  })();
  try {
    for (let visits = 0; visits < 20; visits++) {
      const { frame } = await comeBack(app.port, token);
      assert.equal(frame.type, "resume", `visit ${visits}`);
      assert.equal(frame.epoch, token.epoch);
    }
  } finally {
    isWriting = false;
    await writing;
  }
});

async function startServer(kv: Kv, options: { history: { versions: number } }) {
  const server = createServer({ kv });
  const store = server.createStore("Lines", { line: "" }, options);
  server.handle("write", async ({ text }: { text: string }) => {
    await store.update((draft) => {
      draft.line = text;
    });
  });
  await server.listen({ port: 0, host: "127.0.0.1" });
  return { port: server.port, [Symbol.asyncDispose]: () => server.close() };
}
