/**
 * What each transport does with frames and requests that no client sends. The
 * tables are the documentation; every row is asserted, for both transports,
 * before and after a proper hello. In each the server lives on, a client beside
 * it is served, and nothing is left of the peer.
 */
import assert from "node:assert/strict";
import { encodeFrame } from "../protocol/codec.ts";
import { PROTOCOL_VERSION } from "../protocol/frames.ts";
import { Bystander, TRANSPORTS } from "./_bystander.ts";
import { until } from "./_waiting.ts";
import {
  closePayload,
  OPCODE,
  type RawEnd,
  rawFrame,
  RawPeer,
  rawRequest,
  UPGRADE_HEADERS,
} from "./_raw_frames.ts";

/**
 * - `"served"`: the connection goes on.
 * - a number: a close frame with that code.
 * - `"cut"`: TCP ends without a close frame.
 * - `"silence"`: nothing, until the core ends it: 4002 before a hello, 4009 after.
 */
type Outcome = "served" | "silence" | RawEnd;

const MESSAGE_BYTES = 64 * 1024;
const SILENCE = { before: 4002, after: 4009 };
const HELLO = encodeFrame({ type: "hello", protocol: PROTOCOL_VERSION });
const BAD_UTF8 = Uint8Array.of(0xc3, 0x28);
const { continuation, text, close, ping, pong } = OPCODE;
const frame = rawFrame;
const bytes = (value: string) => new TextEncoder().encode(value);
const part = (opcode: number, payload: Uint8Array = new Uint8Array()) =>
  frame({ opcode, payload, isFinal: false });
const repeat = (count: number, one: Uint8Array) =>
  Array.from({ length: count }, () => one);
const closing = (code: number, reason?: Uint8Array) =>
  frame({ opcode: close, payload: closePayload(code, reason) });

/** A hello in two fragments, with something in between. */
const inside = (...between: Uint8Array[]) => [
  part(OPCODE.binary, HELLO.subarray(0, 3)),
  ...between,
  frame({ opcode: continuation, payload: HELLO.subarray(3) }),
];

// deno-fmt-ignore
const FRAMES: readonly [claim: string, sent: Uint8Array[], native: Outcome, hardened: Outcome][] = [
  // What is right.
  ["a message",                                [frame({ payload: HELLO })],                                "served",  "served"],
  ["a message in two fragments",               inside(),                                                   "served",  "served"],
  ["a ping between two fragments",             inside(frame({ opcode: ping })),                            "served",  "served"],
  ["empty fragments between two",              inside(part(continuation), part(continuation)),             "served",  "served"],
  ["a ping of 125 bytes",                      [frame({ opcode: ping, payload: new Uint8Array(125) })],    "served",  "served"],
  ["a pong that nobody asked for",             [frame({ opcode: pong, payload: bytes("x") })],             "served",  "served"],
  ["a close without a code",                   [frame({ opcode: close })],                                 1005,      1005],
  ["a close with a code of one's own",         [closing(4321, bytes("mine"))],                             4321,      4321],

  // Masks and reserved bits.
  ["an unmasked message",                      [frame({ payload: HELLO, isMasked: false })],               "served",  1002],
  ["an unmasked ping",                         [frame({ opcode: ping, isMasked: false })],                 "served",  1002],
  ["RSV1, as if compressed",                   [frame({ reserved: 4, payload: HELLO })],                   "cut",     1002],
  ["RSV2",                                     [frame({ reserved: 2, payload: HELLO })],                   "cut",     1002],
  ["RSV3",                                     [frame({ reserved: 1, payload: HELLO })],                   "cut",     1002],
  ["RSV1 on a ping",                           [frame({ reserved: 4, opcode: ping })],                     "cut",     1002],
  ["a reserved data opcode",                   [frame({ opcode: 3, payload: HELLO })],                     "cut",     1002],
  ["a reserved control opcode",                [frame({ opcode: 11 })],                                    "cut",     1002],

  // Text, which is not part of the protocol.
  ["text",                                     [frame({ opcode: text, payload: bytes("{}") })],            4000,      4000],
  ["empty text",                               [frame({ opcode: text })],                                  4000,      4000],
  ["text that is no UTF-8",                    [frame({ opcode: text, payload: BAD_UTF8 })],               "cut",     1007],
  ["text that ends within a character",        [frame({ opcode: text, payload: Uint8Array.of(0xe2, 0x82) })], "cut",  1007],

  // Lengths.
  ["a length of 16 bits that fits into 7",     [frame({ payload: HELLO, lengthBytes: 2 })],                "served",  "served"],
  ["a length of 64 bits that fits into 7",     [frame({ payload: HELLO, lengthBytes: 8 })],                "served",  "served"],
  ["messageBytes of what is no message",       [frame({ payload: new Uint8Array(MESSAGE_BYTES) })],        4000,      4000],
  ["a message over messageBytes",              [frame({ payload: new Uint8Array(MESSAGE_BYTES + 1) })],    4004,      1009],
  ["its header alone, then silence",           [frame({ announced: BigInt(MESSAGE_BYTES + 1) })],          "silence", 1009],
  ["2^30 announced, then silence",             [frame({ announced: 1n << 30n })],                          "cut",     1009],
  ["2^40 announced, then silence",             [frame({ announced: 1n << 40n })],                          "cut",     1009],
  ["2^63 announced, then silence",             [frame({ announced: 1n << 63n })],                          "cut",     1009],
  ["2^64 - 1 announced, then silence",         [frame({ announced: (1n << 64n) - 1n })],                   "cut",     1009],

  // Fragments.
  ["a continuation of nothing",                [frame({ opcode: continuation, payload: HELLO })],          "cut",     1002],
  ["a new message inside a fragmented one",    [part(OPCODE.binary, HELLO), frame({ payload: HELLO })],    "cut",     1002],
  ["a text fragment inside a binary message",  [part(OPCODE.binary, HELLO), part(text)],                   "silence", 1002],
  ["a fragmented ping",                        [part(ping), frame({ opcode: continuation })],              "cut",     1002],
  ["a fragmented close",                       [part(close, closePayload(1000))],                          "cut",     1002],
  ["a fragmented message over messageBytes",   [part(OPCODE.binary, new Uint8Array(MESSAGE_BYTES)), frame({ opcode: continuation, payload: HELLO })], 4004, 1009],
  ["20,000 empty fragments, then silence",     [part(OPCODE.binary), ...repeat(20_000, part(continuation))], "silence", 1008],

  // Control frames.
  ["a ping of 126 bytes",                      [frame({ opcode: ping, payload: new Uint8Array(126) })],    "cut",     1002],
  ["a pong of 64 KB",                          [frame({ opcode: pong, payload: new Uint8Array(65_536) })], "served",  1002],
  ["a close of 1 byte",                        [frame({ opcode: close, payload: Uint8Array.of(3) })],      "cut",     1002],
  ["a close of 126 bytes",                     [closing(1000, new Uint8Array(124))],                       1000,      1002],
  ["a close with the code 0",                  [closing(0)],                                               1002,      1002],
  ["a close with the code 999",                [closing(999)],                                             1002,      1002],
  ["a close with 1004, which is reserved",     [closing(1004)],                                            1002,      1002],
  ["a close with 1005, which none may send",   [closing(1005)],                                            1002,      1002],
  ["a close with 1006, which none may send",   [closing(1006)],                                            1002,      1002],
  ["a close with the code 2999",               [closing(2999)],                                            1002,      1002],
  ["a close with the code 5000",               [closing(5000)],                                            1002,      1002],
  ["a close whose reason is no UTF-8",         [closing(1000, BAD_UTF8)],                                  "cut",     1007],
  ["messages after a close",                   [closing(1000), frame({ payload: HELLO }), frame({ opcode: text })], 1000, 1000],
  ["garbage after a close",                    [closing(1000), new Uint8Array(1_000).fill(255)],           1000,      1000],

  // What is no frame, or not a whole one.
  ["bytes of ones",                            [new Uint8Array(64).fill(255)],                             "cut",     1002],
  ["bytes of zeros",                           [new Uint8Array(64)],                                       "cut",     1002],
  ["a request of HTTP",                        [bytes(rawRequest())],                                      "cut",     1002],
  ["nothing",                                  [],                                                         "silence", "silence"],
  ["the first byte of a header, then silence", [frame({ payload: HELLO }).subarray(0, 1)],                 "silence", "silence"],
  ["half a mask, then silence",                [frame({ payload: HELLO }).subarray(0, 4)],                 "silence", "silence"],
  ["all but the last byte, then silence",      [frame({ payload: HELLO }).subarray(0, -1)],                "silence", "silence"],
  ["half a message, then silence",             [part(OPCODE.binary, HELLO)],                               "silence", "silence"],
];

const request = (
  headers: Readonly<Record<string, string>>,
  line?: string,
) => rawRequest(line, { ...UPGRADE_HEADERS, ...headers });
/** A header that a record cannot hold twice. */
const twice = (lines: string) =>
  rawRequest().replace("\r\n\r\n", `\r\n${lines}\r\n\r\n`);
const headersOf = (count: number) =>
  Object.fromEntries(Array.from({ length: count }, (_, n) => [`x-${n}`, "y"]));
const protocols = (offer: string) =>
  request({ "sec-websocket-protocol": offer });

/** Status of the first answer; `"cut"`: TCP ends without one; `"open"`: neither, by the time of a hello. */
type Answer = number | "cut" | "open";

// deno-fmt-ignore
const REQUESTS: readonly [claim: string, sent: string, native: Answer, hardened: Answer][] = [
  ["a request as it should be",                rawRequest(),                                               101,    101],
  ["no key",                                   request({ "sec-websocket-key": "" }),                       400,    400],
  ["a short key",                              request({ "sec-websocket-key": "c2hvcnQ=" }),               400,    400],
  ["a key that is no base64",                  request({ "sec-websocket-key": "\"".repeat(24) }),          400,    400],
  ["no version",                               request({ "sec-websocket-version": "" }),                   426,    426],
  ["version 8",                                request({ "sec-websocket-version": "8" }),                  426,    426],
  ["no connection header",                     request({ connection: "" }),                                400,    400],
  ["a connection header without upgrade",      request({ connection: "keep-alive" }),                      400,    400],
  ["no upgrade header",                        request({ upgrade: "" }),                                   404,    404],
  ["an upgrade to h2c",                        request({ upgrade: "h2c" }),                                404,    404],
  ["POST",                                     rawRequest("POST / HTTP/1.1"),                              405,    405],
  ["another subprotocol",                      protocols("other"),                                         400,    400],
  ["two subprotocols, ours last",              protocols("other,headwater.v1"),                            101,    101],
  ["our subprotocol twice",                    protocols("headwater.v1, headwater.v1"),                    101,    101],
  ["two subprotocol headers",                  twice("sec-websocket-protocol: a\r\nsec-websocket-protocol: headwater.v1"), 101, 101],
  ["a wish for compression",                   request({ "sec-websocket-extensions": "permessage-deflate" }), 101, 101],

  ["HTTP/1.0",                                 rawRequest("GET / HTTP/1.0"),                               101,    400],
  ["HTTP/1.2",                                 rawRequest("GET / HTTP/1.2"),                               400,    400],
  ["HTTP/2.0 in words",                        rawRequest("GET / HTTP/2.0"),                               400,    400],
  ["an absolute URI",                          rawRequest("GET http://elsewhere/ HTTP/1.1"),               101,    101],
  ["a path without a slash",                   rawRequest("GET elsewhere HTTP/1.1"),                       400,    400],
  ["no host",                                  request({ host: "" }),                                      101,    101],
  ["a host with a path in it",                 request({ host: "a/b?c" }),                                 101,    400],
  ["two hosts",                                twice("host: other"),                                       400,    400],

  ["a header of 10 KB",                        request({ x: "y".repeat(10_000) }),                         101,    101],
  ["a header of 20 KB",                        request({ x: "y".repeat(20_000) }),                         101,    431],
  ["a header of 1 MB",                         request({ x: "y".repeat(1_000_000) }),                      400,    431],
  ["3,000 headers",                            request(headersOf(3_000)),                                  400,    431],
  ["a space in a header's name",               request({ "x ": "y" }),                                     400,    400],
  ["a NUL in a header's value",                request({ x: "y\0z" }),                                     400,    400],
  ["a folded header",                          request({ x: "y\r\n z" }),                                  400,    400],
  ["line feeds alone",                         rawRequest().replaceAll("\r\n", "\n"),                      101,    400],

  ["a body",                                   request({ "content-length": "5" }) + "hello",               400,    400],
  ["a body in chunks",                         request({ "transfer-encoding": "chunked" }) + "0\r\n\r\n",  400,    400],
  ["a length and chunks",                      rawRequest("POST / HTTP/1.1", { host: "x", "content-length": "5", "transfer-encoding": "chunked" }) + "0\r\n\r\n", 400, 400],
  ["a second request behind it, as frames",    rawRequest() + rawRequest(),                                101,    101],
  ["a request before it that is not answered", rawRequest("GET /api/v1/health HTTP/1.1", { host: "x" }) + rawRequest(), 200, "cut"],
  ["CONNECT",                                  rawRequest("CONNECT x:80 HTTP/1.1", { host: "x" }),         404,    "cut"],
  ["a method that there is not",               rawRequest("FOO / HTTP/1.1", { host: "x" }),                404,    400],
  ["a hello of TLS",                           "\x16\x03\x01\x02\x00\x01\x00\x01\xfc".padEnd(500, "x"),    400,    400],
  ["half a request, then silence",             "GET / HTTP/1.1\r\nhost: x\r\n",                            "open", 408],
  ["nothing",                                  "",                                                         "open", 408],
];

const LIMITS = { messageBytes: MESSAGE_BYTES, helloMs: 300 };
const HEARTBEAT_MS = 200;

async function outcomeOf(
  peer: RawPeer,
  sent: readonly Uint8Array[],
  expected: Outcome,
): Promise<Outcome> {
  await peer.write(...sent);
  if (expected === "served") {
    return await peer.hello() ? "served" : peer.end ?? "cut";
  }
  await until(() => peer.end !== undefined, {
    describe: () => `an end by ${expected}, after ${peer.opcodes}`,
  });
  return peer.end ?? "cut";
}

for (const transport of TRANSPORTS) {
  const of = <T>(native: T, hardened: T): T =>
    transport === "native" ? native : hardened;

  Deno.test(`${transport} transport: frames that no client sends`, async (t) => {
    await using bystander = await Bystander.start({
      transport,
      limits: LIMITS,
      heartbeatMs: HEARTBEAT_MS,
    });
    const { port } = bystander.app;
    const beforeMb = await bystander.memoryMb();
    for (const [claim, sent, native, hardened] of FRAMES) {
      const expected = of(native, hardened);
      await t.step(`${claim}: ${expected}`, async () => {
        await Promise.all((["before", "after"] as const).map(async (moment) => {
          await using peer = await RawPeer.upgrade(port);
          if (moment === "after") assert.ok(await peer.hello());
          assert.equal(
            await outcomeOf(peer, sent, expected),
            expected === "silence" ? SILENCE[moment] : expected,
            `${claim}, ${moment} hello`,
          );
        }));
        await bystander.check(claim);
      });
    }
    await t.step("a message byte by byte: served", async () => {
      await using peer = await RawPeer.upgrade(port);
      for (const byte of frame({ payload: HELLO })) {
        await peer.write(Uint8Array.of(byte));
      }
      assert.ok(await peer.hello());
    });
    await t.step("all of it cost no memory", async () => {
      await bystander.check("all");
      const grownMb = await bystander.memoryMb() - beforeMb;
      assert.ok(grownMb < 64, `the server has grown by ${grownMb} MB`);
    });
  });

  Deno.test(`${transport} transport: requests that no client sends`, async (t) => {
    await using bystander = await Bystander.start({
      transport,
      limits: LIMITS,
      heartbeatMs: HEARTBEAT_MS,
    });
    const { port } = bystander.app;
    for (const [claim, sent, native, hardened] of REQUESTS) {
      const expected = of(native, hardened);
      await t.step(`${claim}: ${expected}`, async () => {
        const raw = Uint8Array.from(sent, (char) => char.charCodeAt(0));
        await using peer = await RawPeer.send(port, raw);
        const answer = () => peer.status ?? (peer.isEnded ? "cut" : undefined);
        if (expected === "open") {
          // As long as a socket gets for its hello.
          await using other = await RawPeer.upgrade(port);
          await until(() => other.end === SILENCE.before);
          assert.equal(answer(), undefined);
        } else {
          await until(() => answer() !== undefined);
          assert.equal(answer(), expected, peer.head ?? "no answer");
        }
        if (claim.startsWith("a second request")) {
          await until(() => peer.end !== undefined);
          assert.equal(peer.end, of<RawEnd>("cut", 1002));
        }
        if (claim.startsWith("a wish")) {
          assert.doesNotMatch(peer.head ?? "", /extensions/i);
        }
        await peer[Symbol.asyncDispose]();
        await bystander.check(claim);
      });
    }
  });
}
