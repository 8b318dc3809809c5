/**
 * Which requests become sockets, and what the others get, as a suite that every
 * implementation runs over real TCP.
 *
 * @module
 */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { SUBPROTOCOL } from "../protocol/frames.ts";
import type { ServeSockets } from "./_socket_contract.ts";
import { within } from "./_waiting.ts";

const GOOD = {
  connection: "Upgrade",
  upgrade: "websocket",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
  "sec-websocket-version": "13",
};

/** What a request with these headers gets, as raw as no client would show it. */
async function handshake(
  serve: ServeSockets,
  headers: Record<string, string>,
): Promise<{ status: number; head: string }> {
  await using host = await serve(() => ({ message() {}, closed() {} }));
  const tcp = connect(host.port, "127.0.0.1");
  tcp.on("error", () => {});
  const lines = Object.entries(headers).filter(([, value]) => value !== "").map(
    ([name, value]) => `${name}: ${value}`,
  );
  tcp.write(["GET / HTTP/1.1", "host: x", ...lines, "", ""].join("\r\n"));
  const head = await within(
    new Promise<string>((resolve) =>
      tcp.once("data", (data) => resolve(`${data}`))
    ),
    {
      describe: () => "an answer",
    },
  );
  const closed = new Promise((resolve) => tcp.once("close", resolve));
  tcp.destroy();
  await closed;
  return { status: Number(head.split(" ")[1]), head: head.toLowerCase() };
}

const OFFERS: [string, string, number, boolean][] = [
  ["none", "", 101, false],
  ["ours", SUBPROTOCOL, 101, true],
  ["ours first", `${SUBPROTOCOL}, other`, 101, true],
  ["ours last", `other, ${SUBPROTOCOL}`, 101, true],
  ["ours without a space", `other,${SUBPROTOCOL}`, 101, true],
  ["another", "other", 400, false],
  ["two others", "a,b", 400, false],
  ["ours in other case", SUBPROTOCOL.toUpperCase(), 400, false],
];
const REQUESTS: [string, Record<string, string>, number, RegExp][] = [
  ["no upgrade", { upgrade: "" }, 426, /upgrade: websocket/],
  [
    "an upgrade to something else",
    { upgrade: "h2c" },
    426,
    /upgrade: websocket/,
  ],
  [
    "another version",
    { "sec-websocket-version": "8" },
    426,
    /sec-websocket-version: 13/,
  ],
  [
    "no version",
    { "sec-websocket-version": "" },
    426,
    /sec-websocket-version: 13/,
  ],
  ["no key", { "sec-websocket-key": "" }, 400, /no sec-websocket-key/],
  ["a short key", { "sec-websocket-key": "short" }, 400, /not 16 bytes/],
  // Deno refuses it before anybody asks.
  ["a body", { "content-length": "2" }, 400, /has no body|content-length: 0/],
  ["no connection header", { connection: "" }, 400, /'connection' header/],
  [
    "an upgrade in a list, in capitals",
    { upgrade: "h2c, WebSocket", connection: "keep-alive, Upgrade" },
    101,
    /./,
  ],
  [
    "a wish for compression, which is passed over",
    { "sec-websocket-extensions": "permessage-deflate" },
    101,
    /^(?!.*deflate)/s,
  ],
];
/** Registers the suite for one implementation. */
export function upgradeContract(name: string, serve: ServeSockets): void {
  for (const [claim, offer, status, isChosen] of OFFERS) {
    Deno.test(`${name} answers ${status} to a peer that offers ${claim}`, async () => {
      const answer = await handshake(serve, {
        ...GOOD,
        "sec-websocket-protocol": offer,
      });
      assert.equal(answer.status, status, answer.head);
      assert.equal(
        answer.head.includes(`sec-websocket-protocol: ${SUBPROTOCOL}`),
        isChosen,
        answer.head,
      );
    });
  }

  for (const [claim, headers, status, head] of REQUESTS) {
    Deno.test(`${name} answers ${status} to a request with ${claim}`, async () => {
      const answer = await handshake(serve, { ...GOOD, ...headers });
      assert.equal(answer.status, status, answer.head);
      assert.match(answer.head, head);
    });
  }
}
