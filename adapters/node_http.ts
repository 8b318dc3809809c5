/**
 * Requests and responses of `node:http`, as web platforms have them.
 *
 * @module
 */
import type { Buffer } from "node:buffer";
import type { IncomingMessage, ServerResponse } from "node:http";

/** What leads from `/` out of the host. */
const HOST = /^[^/?#\\@\s]+$/;

/** Settings of {@linkcode toRequest}. */
export interface RequestOptions {
  /** The protocol of the listener. */
  readonly scheme: "http" | "https";
  /** Most bytes that a body may have. */
  readonly bodyBytes: number;
  /** Aborted where the peer is lost before it has its answer. */
  readonly signal?: AbortSignal;
}

/** Makes a request; undefined if its URL, host or method is of no use. */
export function toRequest(
  incoming: IncomingMessage,
  { scheme, bodyBytes, signal }: RequestOptions,
): Request | undefined {
  const { method = "GET", url: target = "/", rawHeaders } = incoming;
  const host = incoming.headers.host ?? "localhost";
  // An absolute URI is what a proxy is asked for; its host is not to be believed either.
  const url = /^https?:\/\//i.test(target)
    ? target
    : `${scheme}://${host}${target}`;
  if (!HOST.test(host) || !URL.canParse(url)) return undefined;
  // Of two, a proxy in front may have believed the other one.
  if ((incoming.headersDistinct["host"]?.length ?? 0) > 1) return undefined;
  const headers = new Headers();
  for (let i = 0; i < rawHeaders.length; i += 2) {
    headers.append(rawHeaders[i] ?? "", rawHeaders[i + 1] ?? "");
  }
  const hasBody = method !== "GET" && method !== "HEAD";
  try {
    return new Request(url, {
      method,
      headers,
      ...(signal && { signal }),
      ...(hasBody && {
        body: ReadableStream.from(readBody(incoming, bodyBytes)),
        // Node requires it of a body that is a stream, and browsers' types do not know it.
        duplex: "half",
      }),
    });
  } catch {
    // TRACE and the like, which a Request cannot have.
    return undefined;
  }
}

/** Whether a body says by itself that it is over the limit. */
export function isTooLong(
  incoming: IncomingMessage,
  bodyBytes: number,
): boolean {
  return Number(incoming.headers["content-length"] ?? 0) > bodyBytes;
}

/** Writes a response, no faster than the peer takes it; its body is cancelled if the peer is lost. */
export async function writeResponse(
  response: Response,
  outgoing: ServerResponse,
): Promise<void> {
  try {
    writeHead(response, outgoing);
    if (response.body) await writeBody(response.body, outgoing);
    outgoing.end();
  } catch {
    // What was promised cannot be kept: an end without the last chunk says so.
    outgoing.destroy();
  }
}

function writeHead(
  { status, headers }: Response,
  outgoing: ServerResponse,
): void {
  outgoing.statusCode = status;
  for (const [name, value] of headers) {
    if (name !== "set-cookie") outgoing.setHeader(name, value);
  }
  const cookies = headers.getSetCookie();
  if (cookies.length > 0) outgoing.setHeader("set-cookie", cookies);
}

async function writeBody(
  body: ReadableStream<Uint8Array>,
  outgoing: ServerResponse,
): Promise<void> {
  const reader = body.getReader();
  const cancel = () => void reader.cancel().catch(() => {});
  outgoing.once("close", cancel);
  outgoing.flushHeaders();
  for (;;) {
    const { done, value } = await reader.read();
    if (done || outgoing.destroyed) break;
    if (!outgoing.write(value)) await drained(outgoing);
  }
  outgoing.off("close", cancel);
}

function drained(outgoing: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      outgoing.off("drain", done);
      outgoing.off("close", done);
      resolve();
    };
    outgoing.on("drain", done);
    outgoing.on("close", done);
  });
}

async function* readBody(
  incoming: IncomingMessage,
  bodyBytes: number,
): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  // Nothing sets an encoding, so that chunks are bytes.
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > bodyBytes) {
      throw new RangeError(
        `Cannot read the body: it is over the limit of ${bodyBytes} bytes`,
      );
    }
    yield new Uint8Array(chunk);
  }
}
