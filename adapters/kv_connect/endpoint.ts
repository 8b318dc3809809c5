/**
 * The far end of KV Connect: where it is, who may ask, and one question at a
 * time sent there. A read is sent again where the network fails. A write never
 * is: only who wrote it can find out what became of it.
 *
 * @module
 */

/** A question that is not answered by then is given up, however often it was asked. */
const ANSWER_MS = 10_000;
/** One try; a connection on which nothing comes back is one that a router forgot. */
const TRY_MS = 2_000;
/** Tries begin for so long. */
const TRIES_MS = 5_000;
/** Tries are so far apart, give or take a half. */
const AGAIN_MS = 100;
/** Questions that are under way at once; each has a connection of its own. */
const QUESTIONS = 64;
/** A token is asked for anew so long before it expires. */
const TOKEN_MARGIN_MS = 60_000;

/** Where questions go, and with what. */
interface Access {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly expiresAtMs: number;
}

/** What one question needs. */
interface Question {
  readonly method: "snapshot_read" | "atomic_write" | "watch";
  readonly body: Uint8Array<ArrayBuffer>;
  readonly signal: AbortSignal;
}

/** What sends requests, and keeps connections for the next ones. */
export interface HttpClient {
  /** As `fetch`, but never sends a request again by itself. */
  fetch(url: string, init: HttpInit): Promise<Response>;
  /** Lets go of its connections. */
  close(): void;
}

/** A request of an {@linkcode HttpClient}. */
export interface HttpInit {
  readonly method: "POST";
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array<ArrayBuffer>;
  readonly signal: AbortSignal;
}

/** The network failed, or the KV is not ready; asking again may help. */
export class PassingError extends Error {
  /** Name of the class. */
  override readonly name = "PassingError";
}

/** See the module's documentation. */
export class Endpoint {
  readonly #url: string;
  readonly #token: string;
  readonly #createClient: () => HttpClient;
  #client: HttpClient;
  readonly #controllers = new Set<AbortController>();
  readonly #queue: (() => void)[] = [];
  #access: Access | undefined;
  #asking = 0;
  /** Since when no try went through. */
  #failingSinceMs: number | undefined;
  #isClosed = false;

  /** Asks nothing yet. */
  constructor(
    url: string,
    options: { token: string; createClient: () => HttpClient },
  ) {
    this.#url = url;
    this.#token = options.token;
    this.#createClient = options.createClient;
    this.#client = options.createClient();
  }

  /** Finds out whether the KV is there; tries for some seconds. */
  async open(): Promise<void> {
    await this.#bounded((signal) => this.#patiently(signal, this.#getAccess));
  }

  /** Asks for what can be asked for twice. */
  read(body: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
    return this.#bounded((signal) =>
      this.#patiently(
        signal,
        (signal) => this.#answer({ method: "snapshot_read", body, signal }),
      )
    );
  }

  /** Asks once. A throw proves nothing. */
  write(body: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
    return this.#bounded(async (signal) => {
      await this.#patiently(signal, this.#getAccess);
      return await this.#try(
        signal,
        (signal) => this.#answer({ method: "atomic_write", body, signal }),
      );
    });
  }

  /** Begins an answer without end. */
  async watch(
    body: Uint8Array<ArrayBuffer>,
    signal: AbortSignal,
  ): Promise<ReadableStream<Uint8Array>> {
    const { body: stream } = await this.#ask({ method: "watch", body, signal });
    if (!stream) throw new PassingError("The watch has no answer");
    return stream;
  }

  /** Rejects what is under way, and all that comes. */
  close(): void {
    this.#isClosed = true;
    for (const controller of this.#controllers) controller.abort(closedError());
    for (const go of this.#queue.splice(0)) go();
    this.#client.close();
  }

  /** Runs a question that ends in time, when it is its turn. */
  async #bounded<T>(run: (signal: AbortSignal) => Promise<T>): Promise<T> {
    if (this.#isClosed) throw closedError();
    const controller = new AbortController();
    const late = setTimeout(
      () => controller.abort(new Error("The KV did not answer in time")),
      ANSWER_MS,
    );
    this.#controllers.add(controller);
    try {
      if (this.#asking >= QUESTIONS) {
        await new Promise<void>((resolve) => this.#queue.push(resolve));
      }
      this.#asking++;
      try {
        controller.signal.throwIfAborted();
        return await run(controller.signal);
      } finally {
        this.#asking--;
        this.#queue.shift()?.();
      }
    } finally {
      clearTimeout(late);
      this.#controllers.delete(controller);
    }
  }

  async #patiently<T>(
    signal: AbortSignal,
    run: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const deadline = performance.now() + TRIES_MS;
    for (;;) {
      try {
        const result = await this.#try(signal, run);
        this.#failingSinceMs = undefined;
        return result;
      } catch (error) {
        const now = performance.now();
        this.#failingSinceMs ??= now;
        // Who asks of a KV that has been gone for longer is told so at once.
        const isOver = now >= deadline || signal.aborted ||
          now - this.#failingSinceMs >= TRIES_MS;
        if (!(error instanceof PassingError) || isOver) throw error;
      }
      await shortly(signal);
    }
  }

  async #try<T>(
    signal: AbortSignal,
    run: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const client = this.#client;
    const late = new AbortController();
    const timer = setTimeout(() => {
      late.abort(new PassingError("The KV did not answer in time"));
      // Its other connections are likely to be dead, too.
      if (this.#client === client) this.#renewClient();
    }, TRY_MS);
    try {
      return await run(AbortSignal.any([signal, late.signal]));
    } finally {
      clearTimeout(timer);
    }
  }

  #renewClient(): void {
    if (this.#isClosed) return;
    this.#client.close();
    this.#client = this.#createClient();
  }

  async #answer(question: Question): Promise<Uint8Array> {
    return await bytesOf(await this.#ask(question), question.signal);
  }

  async #ask({ method, body, signal }: Question): Promise<Response> {
    const { url, headers } = await this.#getAccess(signal);
    return await this.#post(`${url}/${method}`, { headers, body, signal });
  }

  readonly #getAccess = async (signal: AbortSignal): Promise<Access> => {
    const known = this.#access;
    if (known && Date.now() < known.expiresAtMs - TOKEN_MARGIN_MS) return known;
    return this.#access = await this.#requestAccess(signal);
  };

  async #requestAccess(signal: AbortSignal): Promise<Access> {
    const response = await this.#post(this.#url, {
      headers: {
        "authorization": `Bearer ${this.#token}`,
        "content-type": "application/json",
      },
      body: new TextEncoder().encode('{"supportedVersions":[2,3]}'),
      signal,
    });
    const text = new TextDecoder().decode(await bytesOf(response, signal));
    return toAccess(response.url || this.#url, text);
  }

  async #post(
    url: string,
    init: Omit<HttpInit, "method">,
  ): Promise<Response> {
    let response: Response;
    try {
      response = await this.#client.fetch(url, { method: "POST", ...init });
    } catch (cause) {
      init.signal.throwIfAborted();
      throw new PassingError(reasonOfLoss(cause), { cause });
    }
    if (response.ok) return response;
    const { status } = response;
    const message = `status ${status}: ${await reasonOf(response)}`;
    // A token that was good may have been replaced before its time.
    const isStale = url !== this.#url && (status === 401 || status === 403);
    if (isStale) this.#access = undefined;
    throw isStale || status >= 500
      ? new PassingError(message)
      : new Error(message);
  }
}

/** Waits a little, not all servers equally long; no longer than until `signal`. */
export function shortly(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const go = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", go);
      resolve();
    };
    const timer = setTimeout(go, AGAIN_MS * (0.5 + Math.random()));
    signal.addEventListener("abort", go);
    if (signal.aborted) go();
  });
}

function toAccess(base: string, text: string): Access {
  const { version, databaseId, endpoints, token, expiresAt } = parse(text);
  const strong = Array.isArray(endpoints)
    ? endpoints.find((endpoint) => endpoint?.consistency === "strong")
    : undefined;
  if ((version !== 2 && version !== 3) || typeof strong?.url !== "string") {
    throw new Error("it does not speak KV Connect, version 2 or 3");
  }
  return {
    url: new URL(strong.url, base).href.replace(/\/$/, ""),
    headers: {
      "authorization": `Bearer ${token}`,
      "content-type": "application/x-protobuf",
      "x-denokv-database-id": String(databaseId),
      "x-denokv-version": String(version),
    },
    expiresAtMs: Date.parse(String(expiresAt)),
  };
}

function parse(text: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(text));
  } catch {
    return {};
  }
}

async function bytesOf(
  response: Response,
  signal: AbortSignal,
): Promise<Uint8Array> {
  try {
    return await response.bytes();
  } catch (cause) {
    signal.throwIfAborted();
    throw new PassingError(messageOf(cause), { cause });
  }
}

/** The beginning of what an error says. */
async function reasonOf(response: Response): Promise<string> {
  return (await response.text().catch(messageOf)).trim().slice(0, 200);
}

function closedError(): TypeError {
  return new TypeError("The KV is closed");
}

/** What the network said; "fetch failed" alone, as fetch has it, would tell nobody why. */
function reasonOfLoss(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  if (!(cause instanceof Error) || cause.message === "") {
    return messageOf(error);
  }
  // Whose message names the KV has the URL already.
  return cause.message.replace(/^error sending request for url \(.*?\): /, "");
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
