/**
 * The third target: HTTP. Every request goes out as bytes, and must be answered
 * by a status below 500, or by the end of the connection where it is no HTTP.
 *
 * @module
 */
import { SeededRandom } from "../../tests/_arbitraries.ts";
import type { Found } from "./codec_target.ts";
import { FuzzFailure } from "./contract.ts";
import { FuzzedServer } from "./fuzzed_server.ts";
import { type HttpCase, makeRequest } from "./http_requests.ts";
import { countRefused, rowOf, type Tally } from "./tally.ts";

/** Connections at a time. */
const LANES = 8;
/** Requests of a lane between two looks at the honest client. */
const REQUESTS = 50;
/** A request that the server waits for the rest of is given up after this. */
const SILENT_MS = 60;
/** How long an answer may take to come whole once it has begun. */
const ANSWER_MS = 10_000;

/** What a run of this target gives. */
export interface HttpResult {
  readonly requests: Tally;
  readonly found: Found[];
  readonly honestWrites: number;
  readonly bytesBefore: number;
  readonly bytesAfter: number;
}

/** How much of this target to run. */
export interface HttpRun {
  readonly seed: number;
  readonly requests: number;
  /** Told how many requests were sent so far. */
  readonly onProgress?: (requests: number) => void;
}

/** Runs this target on a server of its own. */
export async function runHttp(
  { seed, requests, onProgress }: HttpRun,
): Promise<HttpResult> {
  await using server = await FuzzedServer.start();
  await server.check();
  const { memoryBytes: bytesBefore } = await server.report();
  const random = new SeededRandom(seed);
  const tally: Tally = {};
  const found: Found[] = [];
  let sent = 0;
  while (sent < requests && found.length === 0) {
    const lanes = Array.from(
      { length: LANES },
      () => Array.from({ length: REQUESTS }, () => makeRequest(random)),
    );
    sent += LANES * REQUESTS;
    const results = await Promise.allSettled(
      lanes.map((cases) => runLane(server.port, cases, tally)),
    );
    for (const result of results) {
      if (result.status === "rejected") found.push(asFound(result.reason));
    }
    try {
      await server.check();
    } catch (error) {
      // Any of them may have done it.
      found.push({
        target: "http",
        decoder: "http",
        hex: lanes.flat().map(({ bytes }) => bytes.toHex()),
        failure: error instanceof Error ? error.message : String(error),
      });
    }
    onProgress?.(sent);
  }
  const { memoryBytes: bytesAfter } = found.length > 0
    ? { memoryBytes: bytesBefore }
    : await server.report();
  return {
    requests: tally,
    found,
    honestWrites: server.writes,
    bytesBefore,
    bytesAfter,
  };
}

/** Sends requests one after the other, on one connection as long as it holds. */
export async function runLane(
  port: number,
  cases: readonly HttpCase[],
  tally: Tally,
): Promise<void> {
  let connection: HttpConnection | undefined;
  try {
    for (const input of cases) {
      connection ??= await HttpConnection.open(port);
      const status = await connection.request(input).catch((error) => {
        throw new HttpFailure(input, error);
      });
      const row = rowOf(tally, input.row);
      row.frames++;
      if (typeof status === "number" && status < 400) row.accepted++;
      else countRefused(row, String(status));
      if (!connection.isReusable) {
        connection.close();
        connection = undefined;
      }
    }
  } finally {
    connection?.close();
  }
}

/** The request that something went wrong with. */
class HttpFailure extends FuzzFailure {
  readonly input: HttpCase;

  constructor(input: HttpCase, cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.input = input;
  }
}

function asFound(error: unknown): Found {
  const hex = error instanceof HttpFailure ? [error.input.bytes.toHex()] : [];
  const failure = error instanceof Error ? error.message : String(error);
  return { target: "http", decoder: "http", hex, failure };
}

/** One TCP connection that speaks as much HTTP as the answers need. */
class HttpConnection {
  isReusable = true;
  readonly #tcp: Deno.TcpConn;
  readonly #buffer = new Uint8Array(64 * 1024);

  private constructor(tcp: Deno.TcpConn) {
    this.#tcp = tcp;
  }

  static async open(port: number): Promise<HttpConnection> {
    const tcp = await Deno.connect({ hostname: "127.0.0.1", port });
    tcp.setNoDelay(true);
    return new HttpConnection(tcp);
  }

  close(): void {
    try {
      this.#tcp.close();
    } catch {
      // It has ended already.
    }
  }

  /** The status; "closed" or "silent" where none came. */
  async request(
    { row, bytes, isHead }: HttpCase,
  ): Promise<number | "closed" | "silent"> {
    // What follows bytes that are hardly HTTP would be read as their rest.
    if (row !== "health" && row !== "GET /") this.isReusable = false;
    try {
      for (let at = 0; at < bytes.length;) {
        at += await this.#tcp.write(bytes.subarray(at));
      }
    } catch {
      this.isReusable = false;
    }
    const first = await this.#read(SILENT_MS * (row === "no HTTP" ? 1 : 100));
    if (first === "silent") {
      if (row === "no HTTP") return first;
      throw new FuzzFailure("a request was not answered");
    }
    if (first === "closed") return first;
    return await this.#answer(first, isHead);
  }

  async #answer(first: string, isHead: boolean): Promise<number> {
    let text = first;
    const more = async () => {
      const read = await this.#read(ANSWER_MS);
      if (read === "closed" || read === "silent") {
        this.isReusable = false;
        return false;
      }
      text += read;
      return true;
    };
    while (!text.includes("\r\n\r\n") && await more());
    const end = text.indexOf("\r\n\r\n");
    const head = text.slice(0, end);
    const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1]);
    if (status === 100) { // the answer is still to come
      const rest = text.slice(end + 4);
      const next = rest === "" ? await this.#read(ANSWER_MS) : rest;
      if (next === "closed" || next === "silent") {
        throw new FuzzFailure(`nothing came after 100 Continue`);
      }
      return await this.#answer(next, isHead);
    }
    if (!(status >= 100) || status >= 500) {
      throw new FuzzFailure(`answered with ${head.slice(0, 200)}`);
    }
    if (status === 101 || /\nconnection: close/i.test(head)) {
      this.isReusable = false;
    }
    const length = Number(/\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0);
    if (/\ntransfer-encoding/i.test(head)) this.isReusable = false;
    if (isHead || status < 200) return status;
    while (text.length < end + 4 + length && await more());
    if (status === 404 && text.length > end + 4) {
      checkBody(text.slice(end + 4, end + 4 + length));
    }
    return status;
  }

  /** What comes next, one character for each byte. */
  async #read(ms: number): Promise<string | "closed" | "silent"> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<"silent">((resolve) => {
      timer = setTimeout(() => resolve("silent"), ms);
    });
    const reading = this.#tcp.read(this.#buffer).then((read) => {
      if (read === null) return "closed";
      return this.#buffer.subarray(0, read).reduce(
        (text, byte) => text + String.fromCharCode(byte),
        "",
      );
    }).catch(() => "closed");
    try {
      const result = await Promise.race([reading, late]);
      if (result === "silent" || result === "closed") this.isReusable = false;
      return result;
    } finally {
      clearTimeout(timer);
    }
  }
}

/** The error of a path that is not there, as the routes give it. */
function checkBody(body: string): void {
  let code: unknown;
  try {
    code = JSON.parse(body)?.error?.code;
  } catch {
    // Told below.
  }
  if (code !== "not_found") {
    throw new FuzzFailure(`a 404 without its code: ${body.slice(0, 100)}`);
  }
}
