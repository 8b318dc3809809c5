/**
 * The connections of Deno to a remote KV.
 *
 * @module
 */
import type { HttpClient } from "./kv_connect/endpoint.ts";

/** HTTP/1.1: over HTTP/2, Deno writes a body of over 1 KiB apart, and TCP holds it back for 40 ms. */
export function createDenoHttpClient(): HttpClient {
  const client = Deno.createHttpClient({ http1: true, http2: false });
  return {
    fetch(url, init) {
      // Bytes Deno would send again by itself where an answer is cut off, and a write be made twice.
      const body = ReadableStream.from([init.body]);
      return fetch(url, { ...init, body, client });
    },
    close: () => client.close(),
  };
}
