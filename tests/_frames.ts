/** One sample of every frame, and fast-check's arbitrary frames. */
import fc from "fast-check";
import type { ErrorBody, ErrorCode, Outcome } from "../protocol/errors.ts";
import type { ClientWrite, DownFrame, UpFrame } from "../protocol/frames.ts";
import type { Patch, PatchOp } from "../protocol/patch.ts";
import { isForbiddenKey } from "../protocol/value.ts";
import { anyJson } from "./_arbitraries.ts";

/** Samples of the frames that go up, by name; a name tells which optional fields are there. */
export const UP_SAMPLES = {
  "hello": { type: "hello", protocol: 1 },
  "hello with a session": {
    type: "hello",
    protocol: 1,
    session: "c2Vzc2lvbg",
    identity: "aWRlbnRpdHk",
  },
  "hello for parts": { type: "hello", protocol: 1, parts: true },
  "sub": { type: "sub", name: "Todos" },
  "sub with a token": {
    type: "sub",
    name: "Room:general",
    token: { epoch: "e1Kx", version: 41, writer: "w9Qa" },
  },
  "unsub": { type: "unsub", name: "Todos" },
  "rpc": { type: "rpc", id: 1, name: "todos.clear", oldest: 1, elapsedMs: 250 },
  "rpc resent": {
    type: "rpc",
    id: 300,
    name: "todos.add",
    args: { text: "Ship it" },
    oldest: 298,
    elapsedMs: 70_000,
    resent: true,
  },
  "ping": { type: "ping" },
  "hello with credentials": {
    type: "hello",
    protocol: 1,
    own: true,
    token: "dG9rZW4",
  },
  "mut": {
    type: "mut",
    id: 7,
    oldest: 7,
    elapsedMs: 90,
    writes: [{
      name: "Todos",
      epoch: "e1Kx",
      base: 41,
      after: [],
      patch: [{ op: "add", path: ["items", 0], value: "Rest" }],
    }],
  },
  "mut of a batch, resent": {
    type: "mut",
    id: 9,
    oldest: 7,
    elapsedMs: 70_000,
    resent: true,
    exact: true,
    writes: [
      { name: "Todos", epoch: "e1Kx", base: 41, after: [7, 8], patch: [] },
      {
        name: "Room:general",
        epoch: "",
        base: 0,
        after: [],
        mutator: "say",
        seed: "q8Zr",
        args: { text: "hi" },
      },
      {
        name: "Room:general",
        epoch: "e2",
        base: 3,
        after: [],
        mutator: "leave",
        seed: "q8Zs",
      },
    ],
  },
  "cancel": { type: "cancel", id: 300 },
} as const satisfies Record<string, UpFrame>;

/** Samples of the frames that go down. */
export const DOWN_SAMPLES = {
  "welcome": {
    type: "welcome",
    protocol: 1,
    clientId: "k3f9",
    session: "c2Vzc2lvbg",
    resumed: false,
    sessionMs: 86_400_000,
    heartbeatMs: 15_000,
    messageBytes: 262_144,
    serverId: "s7",
  },
  "snap": {
    type: "snap",
    store: 1,
    name: "Todos",
    epoch: "e1Kx",
    version: 40,
    writer: "w9Qa",
    state: { items: [], note: null, share: 0.5 },
  },
  "resume": {
    type: "resume",
    store: 2,
    name: "Room:general",
    epoch: "e1Kx",
    from: 41,
    version: 43,
    writer: "w9Qb",
    patch: [
      { op: "add", path: ["messages", 3], value: { text: "hi" } },
      { op: "remove", path: ["messages", 0] },
    ],
  },
  "patch": {
    type: "patch",
    store: 1,
    from: 40,
    version: 41,
    patch: [{ op: "replace", path: ["items", 5000, "done"], value: true }],
  },
  "patch merged, by another writer": {
    type: "patch",
    store: 130,
    from: 41,
    version: 70_000,
    writer: "w9Qb",
    patch: [{ op: "replace", path: [], value: { items: [] } }],
  },
  "res": { type: "res", id: 300, value: { id: "k3f9-300-0" } },
  "res without value": { type: "res", id: 1 },
  "res with error": {
    type: "res",
    id: 2,
    error: {
      code: "bad_value",
      message: 'Cannot take what is at "/when": it is NaN or infinite',
      path: "/when",
      data: [1],
      outcome: "notApplied",
    },
  },
  "del": { type: "del", name: "Room:general" },
  "evt": { type: "evt", channel: "toast", data: "saved" },
  "evt without data": { type: "evt", channel: "tick" },
  "evt with its order": {
    type: "evt",
    channel: "tick",
    order: { sender: "s3rv3r", number: 7 },
  },
  "err": {
    type: "err",
    error: { code: "store_missing", message: 'No store "Nope"' },
    name: "Nope",
  },
  "pong": { type: "pong" },
  "parts": { type: "parts", bytes: 1_000_000 },
  "own": { type: "own", name: "Todos", calls: [7, 8, 300] },
  "welcome of a user": {
    type: "welcome",
    protocol: 1,
    clientId: "k3f9",
    session: "c2Vzc2lvbg",
    resumed: true,
    sessionMs: 86_400_000,
    heartbeatMs: 15_000,
    messageBytes: 262_144,
    serverId: "s7",
    user: { id: 7, name: "Ada" },
  },
  "res with the id of a logged error": {
    type: "res",
    id: 3,
    error: { code: "function_failed", message: "No", id: "f00" },
  },
} as const satisfies Record<string, DownFrame>;

/** All of them. */
export const SAMPLES: Record<string, UpFrame | DownFrame> = {
  ...UP_SAMPLES,
  ...DOWN_SAMPLES,
};

const uint = () =>
  fc.oneof(
    fc.integer({ min: 1, max: 300 }),
    fc.integer({ min: 1, max: 2 ** 53 - 1 }),
  );
const token = () => fc.string({ unit: "binary", maxLength: 40 });
const name = () => fc.stringMatching(/^[A-Za-z0-9:._ü日-]{1,40}$/);

/** A patch of any steps: the codec does not ask whether they fit a state. */
function anyPatch(): fc.Arbitrary<Patch> {
  const key = fc.string({ unit: "binary", maxLength: 8 }).filter((text) =>
    !isForbiddenKey(text)
  );
  const path = fc.array(fc.oneof(key, fc.nat()), { maxLength: 5 });
  const op = fc.oneof<fc.Arbitrary<PatchOp>[]>(
    fc.tuple(fc.constantFrom("add", "replace"), path, anyJson()).map((
      [op, path, value],
    ) => ({
      op,
      path,
      value,
    })),
    path.map((path) => ({ op: "remove", path })),
  );
  return fc.array(op, { maxLength: 5 });
}

/** Two versions, the first one lower. */
function versions(): fc.Arbitrary<{ from: number; version: number }> {
  return fc.record({ from: fc.nat(), ahead: fc.integer({ min: 1, max: 3 }) })
    .map(({ from, ahead }) => ({ from, version: from + ahead }));
}

function anyError(): fc.Arbitrary<ErrorBody> {
  return fc.record({
    code: fc.constantFrom<ErrorCode>(
      "bad_value",
      "limit",
      "function_failed",
      "unknown",
    ),
    message: fc.string({ unit: "binary" }),
    path: fc.string({ unit: "binary" }),
    data: anyJson(),
    outcome: fc.constantFrom<Outcome>("notSent", "notApplied", "unknown"),
    id: token(),
  }, { requiredKeys: ["code", "message"], noNullPrototype: true });
}

/** A client's write, by a patch or by a mutator. */
function anyWrite(): fc.Arbitrary<ClientWrite> {
  const options = { noNullPrototype: true } as const;
  const place = {
    name: name(),
    epoch: token(),
    base: fc.nat(),
    after: fc.array(uint(), { maxLength: 3 }),
  };
  return fc.oneof<fc.Arbitrary<ClientWrite>[]>(
    fc.record({ ...place, patch: anyPatch() }, {
      ...options,
      requiredKeys: ["name", "epoch", "base", "after", "patch"],
    }),
    fc.record({ ...place, mutator: name(), seed: token(), args: anyJson() }, {
      ...options,
      requiredKeys: ["name", "epoch", "base", "after", "mutator", "seed"],
    }),
  );
}

/** Any frame that goes up, with a name that is in its normal form. */
export function anyUpFrame(): fc.Arbitrary<UpFrame> {
  const options = { noNullPrototype: true } as const;
  return fc.oneof<fc.Arbitrary<UpFrame>[]>(
    fc.record(
      {
        type: fc.constant("hello"),
        protocol: uint(),
        session: token(),
        identity: token(),
        parts: fc.constant(true),
        own: fc.constant(true),
        token: token(),
      },
      { ...options, requiredKeys: ["type", "protocol"] },
    ),
    fc.record({
      type: fc.constant("sub"),
      name: name(),
      token: fc.record(
        { epoch: token(), version: fc.nat(), writer: token() },
        options,
      ),
    }, { ...options, requiredKeys: ["type", "name"] }),
    fc.record({ type: fc.constant("unsub"), name: name() }, options),
    fc.record({
      type: fc.constant("rpc"),
      call: versions(),
      name: name(),
      args: anyJson(),
      elapsedMs: fc.nat(),
      resent: fc.constant(true),
    }, { ...options, requiredKeys: ["type", "call", "name", "elapsedMs"] })
      .map(({ call, ...rest }) => ({
        ...rest,
        id: call.version,
        oldest: call.from + 1,
      })),
    fc.constant({ type: "ping" }),
    fc.record({ type: fc.constant("cancel"), id: uint() }, options),
    fc.record({
      type: fc.constant("mut"),
      call: versions(),
      elapsedMs: fc.nat(),
      resent: fc.constant(true),
      exact: fc.constant(true),
      writes: fc.array(anyWrite(), { minLength: 1, maxLength: 3 }),
    }, {
      ...options,
      requiredKeys: ["type", "call", "elapsedMs", "writes"],
    }).map(({ call, ...rest }) => ({
      ...rest,
      id: call.version,
      oldest: call.from + 1,
    })),
  );
}

/** Any frame that goes down. */
export function anyDownFrame(): fc.Arbitrary<DownFrame> {
  const options = { noNullPrototype: true } as const;
  const place = {
    store: fc.nat(),
    name: name(),
    epoch: token(),
    writer: token(),
  };
  return fc.oneof<fc.Arbitrary<DownFrame>[]>(
    fc.record({
      type: fc.constant("welcome"),
      protocol: uint(),
      clientId: token(),
      session: token(),
      resumed: fc.boolean(),
      sessionMs: uint(),
      heartbeatMs: fc.nat(),
      messageBytes: uint(),
      serverId: token(),
      user: anyJson(),
    }, {
      ...options,
      requiredKeys: [
        "type",
        "protocol",
        "clientId",
        "session",
        "resumed",
        "sessionMs",
        "heartbeatMs",
        "messageBytes",
        "serverId",
      ],
    }),
    fc.record({
      type: fc.constant("snap"),
      ...place,
      version: fc.nat(),
      state: anyJson(),
    }, options),
    fc.record({
      type: fc.constant("resume"),
      ...place,
      span: versions(),
      patch: anyPatch(),
    }, options)
      .map(({ span, ...rest }) => ({ ...rest, ...span })),
    fc.record({
      type: fc.constant("patch"),
      store: fc.nat(),
      span: versions(),
      writer: token(),
      patch: anyPatch(),
    }, { ...options, requiredKeys: ["type", "store", "span", "patch"] })
      .map(({ span, ...rest }) => ({ ...rest, ...span })),
    fc.record({ type: fc.constant("res"), id: uint(), value: anyJson() }, {
      ...options,
      requiredKeys: ["type", "id"],
    }),
    fc.record(
      { type: fc.constant("res"), id: uint(), error: anyError() },
      options,
    ),
    fc.record({ type: fc.constant("del"), name: name() }, options),
    fc.record({ type: fc.constant("evt"), channel: name(), data: anyJson() }, {
      ...options,
      requiredKeys: ["type", "channel"],
    }),
    fc.record({ type: fc.constant("err"), error: anyError(), name: name() }, {
      ...options,
      requiredKeys: ["type", "error"],
    }),
    fc.constant({ type: "pong" }),
    fc.record(
      { type: fc.constant("own"), name: name(), calls: fc.array(uint()) },
      options,
    ),
  );
}
