/**
 * What a request gets: the WebSocket upgrade, the REST API, pages.
 *
 * @module
 */
import { Hono } from "hono";
import { cors } from "hono/cors";
import type { HostFetch } from "../ports.ts";

/** Whether the server can do its work; more fields are for people. */
export interface Health {
  /** `"degraded"`: the KV does not answer. */
  readonly status: "ok" | "degraded";
  /** Anything else that helps whoever looks. */
  readonly [field: string]: string | number | boolean | undefined;
}

/** A page or another file that is served as it is. */
export interface Page {
  /** What is sent. */
  readonly body: string | Uint8Array<ArrayBuffer>;
  /** Media type, with its charset. */
  readonly type: string;
}

/** Settings of {@linkcode createRoutes}. */
export interface RouteOptions {
  /** Answers an upgrade request whose path and origin are allowed. */
  upgrade: (request: Request, address: string | undefined) => Response;
  /** Asks whether the server can do its work. */
  health: () => Promise<Health>;
  /** The one path that takes WebSockets; any by default. */
  path?: string | undefined;
  /** Which origins a browser may come from: `"*"` (default), one, or a list. */
  cors?: string | readonly string[] | undefined;
  /** Pages by their path. */
  pages?: Readonly<Record<string, Page>> | undefined;
  /** Takes the peer's address from `X-Forwarded-For`; only behind a proxy that sets it. */
  trustProxy?: boolean | undefined;
  /** Told what a route threw; the request gets a 500 without it. */
  onError?: ((error: unknown) => void) | undefined;
}

/**
 * Makes the handler of all requests.
 *
 * @throws {TypeError} if an origin in `cors` is none.
 */
export function createRoutes(options: RouteOptions): HostFetch {
  const { path, trustProxy = false } = options;
  const origins = toOrigins(options.cors ?? "*");
  const app = createApp(options, origins);

  return (request, address) => {
    // Ahead of Hono: its CORS middleware would copy the response, which an
    // upgrade does not survive.
    if (
      !isUpgrade(request) ||
      (path !== undefined && new URL(request.url).pathname !== path)
    ) {
      return app.fetch(request);
    }
    const origin = request.headers.get("origin");
    // Only browsers send it, and only they can be lured by a foreign page. The
    // own host gets no exception: a rebound DNS name would claim to be it.
    if (origin !== null && origins !== "*" && !origins.includes(origin)) {
      return new Response(
        `Connections from the origin ${origin} are not allowed here\n`,
        { status: 403 },
      );
    }
    return options.upgrade(
      request,
      addressOf(request, address, { trustProxy }),
    );
  };
}

/**
 * The address that a request comes from. `X-Forwarded-For` counts only with
 * `trustProxy`, and of it only the last entry, which the nearest proxy wrote:
 * those before it are the client's word.
 */
export function addressOf(
  request: Request,
  remote: string | undefined,
  options: { trustProxy: boolean },
): string | undefined {
  if (!options.trustProxy) return remote;
  return request.headers.get("x-forwarded-for")?.split(",").at(-1)?.trim() ||
    remote;
}

function createApp(
  { health, pages = {}, onError }: RouteOptions,
  origins: "*" | string[],
): Hono {
  const app = new Hono();
  app.use("/api/*", cors({ origin: origins }));
  app.get("/api/v1/health", async (context) => {
    const answer = await health();
    return context.json(answer, answer.status === "ok" ? 200 : 503, {
      "cache-control": "no-store",
    });
  });
  for (const [path, page] of Object.entries(pages)) {
    app.get(path, (context) =>
      context.body(page.body, 200, {
        "content-type": page.type,
        // Else a browser shows the page of the version before.
        "cache-control": "no-cache",
        "x-content-type-options": "nosniff",
      }));
  }
  app.notFound((context) =>
    context.json(
      errorBody(
        "not_found",
        `There is nothing at ${context.req.method} ${context.req.path}`,
      ),
      404,
    )
  );
  app.onError((error, context) => {
    onError?.(error);
    return context.json(
      errorBody("internal", "The server failed to answer this request"),
      500,
    );
  });
  return app;
}

function errorBody(
  code: string,
  message: string,
): { error: { code: string; message: string } } {
  return { error: { code, message } };
}

function isUpgrade(request: Request): boolean {
  const names = request.headers.get("upgrade")?.split(",") ?? [];
  return names.some((name) => name.trim().toLowerCase() === "websocket");
}

/** Origins as browsers write them; a trailing slash would otherwise refuse everybody. */
function toOrigins(allowed: string | readonly string[]): "*" | string[] {
  const list = typeof allowed === "string" ? [allowed] : allowed;
  if (list.includes("*")) return "*";
  return list.map((text) => {
    // Sandboxed frames and file: pages have this origin.
    if (text === "null") return text;
    const url = URL.canParse(text) ? new URL(text) : undefined;
    // "https://*.example.com" is a valid URL that would match nobody.
    if (
      url === undefined || url.origin === "null" || url.pathname !== "/" ||
      text.includes("*")
    ) {
      throw new TypeError(
        `Cannot allow the origin "${text}": expected "*" or one like "https://example.com"`,
      );
    }
    return url.origin;
  });
}
