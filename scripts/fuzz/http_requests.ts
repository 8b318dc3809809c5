/**
 * Requests that no browser sends, for the routes that exist.
 *
 * @module
 */
import type { SeededRandom } from "../../tests/_arbitraries.ts";
import { encodeFrame } from "../../protocol/codec.ts";
import { UP_SAMPLES } from "../../tests/_frames.ts";
import { mutateBytes, randomBytes } from "./mutations.ts";
import { HOSTILE_TEXTS } from "./wrong_values.ts";

/** What a request is meant for: a row of the table. */
export const HTTP_ROWS = [
  "GET /",
  "health",
  "no such path",
  "other method",
  "upgrade",
  "no HTTP",
] as const;

/** One request. */
export interface HttpCase {
  readonly row: typeof HTTP_ROWS[number];
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** A HEAD has no body in its answer, whatever its length says. */
  readonly isHead: boolean;
}

const METHODS = [
  "GET",
  "HEAD",
  "POST",
  "PUT",
  "PATCH",
  "DELETE",
  "OPTIONS",
  "TRACE",
  "PROPFIND",
  "get",
  "G E T",
  "X".repeat(300),
];

const PATHS = [
  "/api/v1/health/",
  "/api/v1/",
  "/api",
  "/api/v1/health%00",
  "/api/v1/%68ealth",
  "//",
  "/./",
  "/../../etc/passwd",
  "/%2e%2e/%2e%2e/",
  "/%",
  "/%zz",
  "/%ff%fe",
  "/?a=%ff",
  "/index.html",
  "/\u00e9",
  "*",
  "http://elsewhere.example/api/v1/health",
  "http://[",
  "/" + "a/".repeat(2_000),
  "/" + "a".repeat(9_000),
  "/api/v1/stores/__proto__",
];

const HEADERS = [
  ["origin", "https://elsewhere.example"],
  ["origin", "null"],
  ["origin", "%"],
  ["accept", "*/*;q=2"],
  ["accept-encoding", "gzip, br, \u0001"],
  ["x-forwarded-for", "1.2.3.4, __proto__"],
  ["access-control-request-method", "PUT"],
  ["access-control-request-headers", "x,".repeat(500)],
  ["range", "bytes=-1"],
  ["if-none-match", '"'.repeat(100)],
  ["cookie", "a=b; ".repeat(200)],
  ["authorization", "Bearer " + "x".repeat(4_000)],
  ["content-type", "application/json; charset=\u00ff"],
  ["expect", "100-continue"],
  ["connection", "upgrade, close"],
  ["upgrade", "h2c"],
  ["host", "other.example"],
  ["x".repeat(200), "y"],
  ["x-null", "a\u0000b"],
  ["transfer-encoding", "gzip, chunked"],
  ["content-length", "-1"],
] as const;

const UPGRADE = [
  ["upgrade", "websocket"],
  ["connection", "Upgrade"],
  ["sec-websocket-version", "13"],
  ["sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="],
  ["sec-websocket-protocol", "headwater.v1"],
] as const;

/** A request as `random` chooses. */
export function makeRequest(random: SeededRandom): HttpCase {
  const row = random.pick(HTTP_ROWS);
  if (row === "no HTTP") return { row, ...noHttp(random), isHead: false };
  const method = row === "other method" ? random.pick(METHODS) : "GET";
  const path = pathOf(row, random);
  const headers: [string, string][] = [["host", "127.0.0.1"]];
  if (row === "upgrade") {
    for (const [name, value] of UPGRADE) {
      const kind = random.below(12);
      if (kind === 0) continue;
      headers.push([name, kind === 1 ? random.pick(HOSTILE_TEXTS) : value]);
    }
  }
  for (let count = random.below(3); count > 0; count--) {
    const [name, value] = random.pick(HEADERS);
    headers.push([name, value]);
  }
  const body = bodyOf(row, random);
  if (body.length > 0) headers.push(["content-length", String(body.length)]);
  const head = `${method} ${path} HTTP/1.1\r\n${
    headers.map(([name, value]) => `${name}: ${value}\r\n`).join("")
  }\r\n`;
  const text = new TextEncoder().encode(head);
  const bytes = new Uint8Array(text.length + body.length);
  bytes.set(text);
  bytes.set(body, text.length);
  return { row, bytes, isHead: method === "HEAD" };
}

function pathOf(row: string, random: SeededRandom): string {
  switch (row) {
    case "GET /":
      return random.below(4) === 0 ? `/?${random.below(1e6)}` : "/";
    case "health":
      return "/api/v1/health";
    case "no such path":
      return random.pick(PATHS);
    default:
      return random.pick(["/", "/api/v1/health", ...PATHS.slice(0, 6)]);
  }
}

function bodyOf(row: string, random: SeededRandom): Uint8Array {
  if (row !== "other method" && random.below(4) > 0) return new Uint8Array();
  const frame = encodeFrame(random.pick(Object.values(UP_SAMPLES)));
  switch (random.below(5)) {
    case 0:
      return new TextEncoder().encode('{"__proto__":{"a":1}}');
    case 1:
      return new TextEncoder().encode("[".repeat(2_000));
    case 2:
      return randomBytes(random);
    case 3:
      return new Uint8Array(random.below(40_000)).fill(0x61);
    default:
      return mutateBytes(frame, frame, random);
  }
}

/** Bytes that are hardly a request any more. */
function noHttp(random: SeededRandom): { bytes: Uint8Array<ArrayBuffer> } {
  const valid = new TextEncoder().encode(
    `GET /api/v1/health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`,
  );
  return {
    bytes: random.below(3) === 0
      ? randomBytes(random)
      : mutateBytes(valid, randomBytes(random), random),
  };
}
