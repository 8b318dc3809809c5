import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import {
  decodeDown,
  decodeJson,
  decodeUp,
  encodeFrame,
  joinFrames,
} from "../protocol/codec.ts";
import {
  CLOSE,
  type DownFrame,
  PROTOCOL_VERSION,
  type RefusedFrame,
  SUBPROTOCOL,
  type UpFrame,
} from "../protocol/frames.ts";
import { applyJsonPatch, toJsonPatch } from "../protocol/json_patch.ts";
import { DEFAULT_LIMITS } from "../protocol/limits.ts";
import { applyPatch } from "../protocol/patch.ts";
import { decodePatch } from "../protocol/patch_codec.ts";
import type { Json } from "../protocol/value.ts";
import { DOWN_SAMPLES, SAMPLES, UP_SAMPLES } from "./_frames.ts";

/** The bytes of every sample. */
const GOLDEN: Record<string, string> = {
  "hello": "82a17401a17601",
  "hello with a session":
    "84a17401a17601a173aa6332567a63326c766267a169ab6157526c626e527064486b",
  "hello for parts": "83a17401a17601a170c3",
  "sub": "82a17402a16ea5546f646f73",
  "sub with a token":
    "85a17402a16eac526f6f6d3a67656e6572616ca165a465314b78a17629a177a477395161",
  "unsub": "82a17403a16ea5546f646f73",
  "rpc": "84a17404a16901a16eab746f646f732e636c656172a16dccfa",
  "rpc resent":
    "87a17404a169cd012ca16ea9746f646f732e616464a16dce00011170a16fcd012aa172c3a16181a474657874a753686970206974",
  "ping": "81a17405",
  "hello with credentials": "84a17401a17601a16fc3a16ba7644739725a5734",
  "mut":
    "84a17406a16907a16d5aa17795a5546f646f73a465314b782990930192a56974656d7300a452657374",
  "mut of a batch, resent":
    "87a17406a16909a16dce00011170a16f07a172c3a178c3a1779fa5546f646f73a465314b782992070890ac526f6f6d3a67656e6572616ca0009093a3736179a471385a7281a474657874a26869ac526f6f6d3a67656e6572616ca26532039092a56c65617665a471385a73",
  "cancel": "82a17407a169cd012c",
  "welcome":
    "89a17420a17601a163a46b336639a173aa6332567a63326c766267a172c2a16cce05265c00a168cd3a98a162ce00040000a164a27337",
  "snap":
    "87a17421a17301a16ea5546f646f73a165a465314b78a17628a177a477395161a17883a56974656d7390a46e6f7465c0a57368617265cb3fe0000000000000",
  "resume":
    "88a17422a17302a16eac526f6f6d3a67656e6572616ca165a465314b78a16629a1762ba177a477395162a170950192a86d657373616765730381a474657874a268690292a86d6573736167657300",
  "patch": "83a17301a17629a1709293a56974656d73cd1388a4646f6e65c3",
  "patch merged, by another writer":
    "85a173cc82a176ce00011170a16629a177a477395162a170929081a56974656d7390",
  "res": "83a17423a169cd012ca17881a26964aa6b3366392d3330302d30",
  "res without value": "82a17423a16901",
  "res with error":
    "83a17423a16902a16585a163a96261645f76616c7565a16dd93543616e6e6f742074616b65207768617420697320617420222f7768656e223a206974206973204e614e206f7220696e66696e697465a170a52f7768656ea1649101a16faa6e6f744170706c696564",
  "del": "82a17424a16eac526f6f6d3a67656e6572616c",
  "evt": "83a17425a163a5746f617374a178a57361766564",
  "evt without data": "82a17425a163a47469636b",
  "evt with its order": "84a17425a163a47469636ba173a6733372763372a16907",
  "err":
    "83a17426a16582a163ad73746f72655f6d697373696e67a16daf4e6f2073746f726520224e6f706522a16ea44e6f7065",
  "pong": "81a17427",
  "parts": "82a17428a162ce000f4240",
  "own": "83a17429a16ea5546f646f73a163930708cd012c",
  "welcome of a user":
    "8aa17420a17601a163a46b336639a173aa6332567a63326c766267a172c3a16cce05265c00a168cd3a98a162ce00040000a164a27337a17582a2696407a46e616d65a3416461",
  "res with the id of a logged error":
    "83a17423a16903a16583a163af66756e6374696f6e5f6661696c6564a16da24e6fa169a3663030",
};

/**
 * Hash of all of the above, by protocol version. If this test fails because the
 * bytes of a frame have changed: raise PROTOCOL_VERSION, add a line to its
 * history, and add a hash here. What stands here already is never changed.
 */
const HASHES: Record<number, string> = {
  1: "08d172b5117811d5eb0a18dc2d606b83894222d42e42d6820f9465d37bd11d12",
};

/** Came to version 1 later: only who asks for it in the hello is sent such a frame. */
const ADDED = [
  "hello for parts",
  "parts",
  "hello with credentials",
  "mut",
  "mut of a batch, resent",
  "cancel",
  "own",
  "welcome of a user",
  "res with the id of a logged error",
  "evt with its order",
];

const PROTOCOL = readFileSync(
  new URL("../PROTOCOL.md", import.meta.url),
  "utf8",
);

function decodeAny(
  bytes: Uint8Array,
  direction: string,
): (UpFrame | RefusedFrame | DownFrame)[] {
  return direction === "up"
    ? decodeUp(bytes, DEFAULT_LIMITS)
    : decodeDown(bytes);
}

/** Rows of the table whose header begins with these cells, without the spaces. */
function rowsOf(...header: string[]): string[][] {
  const rows = PROTOCOL.split("\n").map((line) =>
    line.startsWith("|")
      ? line.split("|").slice(1, -1).map((cell) => cell.trim())
      : []
  );
  const start = rows.findIndex((row) =>
    row.length > 0 && header.every((cell, i) => row[i] === cell)
  );
  assert.ok(start >= 0, `PROTOCOL.md has no table "${header.join(" | ")}"`);
  const end = rows.findIndex((row, i) => i > start && row.length === 0);
  return rows.slice(start + 2, end);
}

Deno.test("encodeFrame() writes the pinned bytes", () => {
  assert.deepStrictEqual(Object.keys(GOLDEN), Object.keys(SAMPLES));
  for (const [name, frame] of Object.entries(SAMPLES)) {
    assert.equal(encodeFrame(frame).toHex(), GOLDEN[name], name);
  }
});

Deno.test("decodeUp() and decodeDown() read the pinned bytes", () => {
  for (const [name, frame] of Object.entries(UP_SAMPLES)) {
    assert.deepStrictEqual(
      decodeUp(Uint8Array.fromHex(GOLDEN[name]!), DEFAULT_LIMITS),
      [frame],
    );
  }
  for (const [name, frame] of Object.entries(DOWN_SAMPLES)) {
    assert.deepStrictEqual(decodeDown(Uint8Array.fromHex(GOLDEN[name]!)), [
      frame,
    ]);
  }
});

Deno.test("PROTOCOL_VERSION stands for the pinned bytes", () => {
  const original = Object.fromEntries(
    Object.entries(GOLDEN).filter(([name]) => !ADDED.includes(name)),
  );
  const hash = createHash("sha256").update(JSON.stringify(original)).digest(
    "hex",
  );
  assert.equal(
    hash,
    HASHES[PROTOCOL_VERSION],
    "change the bytes, raise the version",
  );
  assert.equal(Math.max(...Object.keys(HASHES).map(Number)), PROTOCOL_VERSION);
});

Deno.test("PROTOCOL.md names the version and the subprotocol", () => {
  assert.match(
    PROTOCOL,
    new RegExp(`^# The Headwater protocol, version ${PROTOCOL_VERSION}\n`),
  );
  assert.ok(PROTOCOL.includes(`\`${SUBPROTOCOL}\``));
});

Deno.test("PROTOCOL.md has the formula of every frame", () => {
  const block = PROTOCOL.match(/```text frames\n([^`]*)```/)?.[1] ?? "";
  const formulas = new Map<string, string>();
  for (const [, type, fields] of block.matchAll(/^ {2}(\w+) *= \{(.*)\}$/gm)) {
    formulas.set(type!, fields!); // both groups are part of every match
  }
  const types = new Set(Object.values(SAMPLES).map(({ type }) => type));
  assert.deepStrictEqual(new Set(formulas.keys()), types);
  for (const type of types) {
    const fields = formulas.get(type)!.split(", "); // the line above has found it
    const samples = Object.values(SAMPLES).filter((frame) =>
      frame.type === type
    )
      .map((frame) => decodeJson(encodeFrame(frame)) as Record<string, Json>); // a frame is a map
    const seen = new Set<string>();
    for (const map of samples) {
      for (const letter of Object.keys(map)) seen.add(letter);
      for (const field of fields) {
        const number = field.match(/^t: (\d+)$/)?.[1];
        if (number !== undefined) assert.equal(map["t"], Number(number), type);
        else {assert.ok(
            field.endsWith("?") || field in map,
            `${type} without "${field}"`,
          );}
      }
    }
    const letters = fields.map((field) => field.replace(/[?:].*$/, ""));
    assert.deepStrictEqual([...seen].sort(), letters.sort(), type);
  }
});

Deno.test("PROTOCOL.md has every field of every frame in its table", () => {
  const fields = new Map<string, Set<string>>();
  let type = "";
  for (const [frame, field] of rowsOf("frame", "field", "kind")) {
    type = frame!.replaceAll("*", "") || type;
    fields.set(
      type,
      (fields.get(type) ?? new Set()).add(field!.replaceAll("`", "")),
    );
  }
  for (const [name, frame] of Object.entries(SAMPLES)) {
    const map = decodeJson(encodeFrame(frame)) as Record<string, Json>; // a frame is a map
    for (const letter of Object.keys(map)) {
      if (letter !== "t") {
        assert.ok(fields.get(frame.type)?.has(letter), `${name}: "${letter}"`);
      }
    }
  }
});

Deno.test("PROTOCOL.md has every close code, error code and limit that it speaks of", () => {
  const codes = rowsOf("code", "name", "why").map((
    [code, name],
  ) => [name!.replaceAll("`", ""), Number(code)]);
  assert.deepStrictEqual(Object.fromEntries(codes), CLOSE);

  const errors = readFileSync(
    new URL("../protocol/errors.ts", import.meta.url),
    "utf8",
  );
  const union = errors.slice(
    errors.indexOf("type ErrorCode"),
    errors.indexOf("type Outcome"),
  );
  assert.deepStrictEqual(
    rowsOf("code", "meaning").map(([code]) => code!.replaceAll("`", "")),
    [...union.matchAll(/\| "(\w+)"/g)].map(([, code]) => code),
  );

  for (const [name, value] of rowsOf("limit", "default", "over it")) {
    const limit = name!.replaceAll("`", "") as keyof typeof DEFAULT_LIMITS; // the line below checks it
    assert.equal(Number(value), DEFAULT_LIMITS[limit], limit);
  }
});

Deno.test("PROTOCOL.md's example has the bytes of its frames", () => {
  const steps = [
    ...PROTOCOL.matchAll(
      /```hex (up|down)\n([^`]*)```\n\n```json\n([^`]*)```/g,
    ),
  ];
  assert.equal(steps.length, 10);
  for (const [, direction, hex, json] of steps) {
    const message = Uint8Array.fromHex(hex!.replaceAll(/\s/g, ""));
    const frames = decodeAny(message, direction!);
    const encoded = frames.map((frame) => {
      assert.ok(frame.type !== "refused");
      return encodeFrame(frame);
    });
    assert.deepStrictEqual(joinFrames(encoded), message);
    assert.deepStrictEqual(
      encoded.map((bytes) => decodeJson(bytes)),
      JSON.parse(json!),
    );
  }
});

Deno.test("PROTOCOL.md's example leads to one state at both ends", () => {
  const steps = PROTOCOL.matchAll(/```hex down\n([^`]*)```/g);
  let replica: { version: number; state: Json } | undefined;
  for (const [, hex] of steps) {
    for (
      const frame of decodeDown(Uint8Array.fromHex(hex!.replaceAll(/\s/g, "")))
    ) {
      if (frame.type === "snap") {
        replica = { version: frame.version, state: frame.state };
      }
      if (frame.type !== "patch" && frame.type !== "resume") continue;
      assert.ok(replica);
      assert.equal(frame.from, replica.version);
      replica = {
        version: frame.version,
        state: applyPatch(replica.state, frame.patch),
      };
    }
  }
  assert.deepStrictEqual(replica, {
    version: 44,
    state: { items: [{ text: "Ship it", done: true }] },
  });
});

Deno.test("PROTOCOL.md's patch is the JSON Patch beside it", () => {
  const compact = PROTOCOL.match(/`(\[\["items", 5,.*\])`/)?.[1];
  const jsonPatch = PROTOCOL.match(/is\n\n```json\n([^`]*)```/)?.[1];
  assert.ok(compact && jsonPatch);
  const patch = decodePatch(JSON.parse(compact));
  assert.deepStrictEqual(toJsonPatch(patch), JSON.parse(jsonPatch));
  const state = { items: [{}, {}, {}, {}, {}, { done: false }], note: "x" };
  const after = { items: [{}, {}, {}, {}, {}, { done: true }, { id: 7 }] };
  assert.deepStrictEqual(applyPatch(state, patch), after);
  assert.deepStrictEqual(applyJsonPatch(state, JSON.parse(jsonPatch)), after);
});
