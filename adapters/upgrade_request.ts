/**
 * What a request must be to become a WebSocket, whatever then speaks on it.
 *
 * @module
 */
import { SUBPROTOCOL } from "../protocol/frames.ts";

/** 16 bytes in base64 (RFC 6455, section 4.1). */
const KEY = /^[+/0-9A-Za-z]{22}==$/;

/** A request that may be upgraded. */
export interface CheckedUpgrade {
  /** The subprotocol to answer with; none where none was offered. */
  readonly subprotocol: string | undefined;
}

/**
 * Looks at an upgrade request, or answers one that is none: 426 where it asks for
 * something else or another version, 405 where it is no GET, 400 where it has a
 * body, no connection header, no valid key, or only subprotocols which are not ours.
 */
export function checkUpgrade(request: Request): CheckedUpgrade | Response {
  const { headers, method } = request;
  if (!includesName(headers, "upgrade", "websocket")) {
    return refuse(426, "This address answers WebSocket requests only", {
      upgrade: "websocket",
    });
  }
  if (method !== "GET") {
    return refuse(405, `A WebSocket is asked for by GET, not ${method}`, {
      allow: "GET",
    });
  }
  // Deno checks neither version nor key: it would go on to speak version 13
  // with a peer of another one.
  if (headers.get("sec-websocket-version") !== "13") {
    return refuse(426, "Only version 13 of WebSocket is spoken here", {
      "sec-websocket-version": "13",
    });
  }
  if (!includesName(headers, "connection", "upgrade")) {
    return refuse(400, "The request has no 'connection' header with 'upgrade'");
  }
  const key = headers.get("sec-websocket-key");
  if (!key) return refuse(400, "The request has no sec-websocket-key");
  if (!KEY.test(key)) {
    return refuse(400, "The sec-websocket-key is not 16 bytes in base64");
  }
  // Its bytes would be taken for frames.
  if (
    (headers.get("content-length") ?? "0") !== "0" ||
    headers.has("transfer-encoding")
  ) return refuse(400, "An upgrade request has no body");
  const offered = listOf(headers, "sec-websocket-protocol");
  const isOffered = offered.includes(SUBPROTOCOL);
  if (offered.length > 0 && !isOffered) {
    return refuse(
      400,
      `Only the subprotocol ${SUBPROTOCOL} is spoken here, not ${
        offered.join(", ")
      }`,
    );
  }
  return { subprotocol: isOffered ? SUBPROTOCOL : undefined };
}

/** An answer in place of a socket. */
export function refuse(
  status: number,
  message: string,
  headers: Record<string, string> = {},
): Response {
  return new Response(`${message}\n`, { status, headers });
}

function includesName(headers: Headers, list: string, name: string): boolean {
  return listOf(headers, list).some((item) => item.toLowerCase() === name);
}

function listOf(headers: Headers, name: string): string[] {
  return (headers.get(name) ?? "").split(",").map((part) => part.trim()).filter(
    (part) => part !== "",
  );
}
