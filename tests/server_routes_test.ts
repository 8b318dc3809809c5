import assert from "node:assert/strict";
import { denoPorts } from "../adapters/deno_ports.ts";
import {
  addressOf,
  createRoutes,
  type Health,
  type RouteOptions,
} from "../server/http/routes.ts";

const UPGRADE = { upgrade: "websocket", connection: "Upgrade" };

function routes(options: Partial<RouteOptions> = {}) {
  const upgrades: (string | undefined)[] = [];
  const handler = createRoutes({
    // A status that only a real upgrade may have cannot be made here.
    upgrade: (_request, address) => {
      upgrades.push(address);
      return new Response("upgraded");
    },
    health: () => Promise.resolve<Health>({ status: "ok", version: "1.2.3" }),
    ...options,
  });
  const ask = async (
    path: string,
    headers: Record<string, string> = {},
    method = "GET",
  ) =>
    await handler(
      new Request(`http://example.com${path}`, { headers, method }),
      "10.0.0.1",
    );
  return { ask, upgrades };
}

Deno.test("createRoutes() answers health by 200 or 503", async () => {
  const ok = await routes().ask("/api/v1/health");
  assert.equal(ok.status, 200);
  assert.deepEqual(await ok.json(), { status: "ok", version: "1.2.3" });
  assert.equal(ok.headers.get("cache-control"), "no-store");
  const { ask } = routes({
    health: () => Promise.resolve({ status: "degraded", reason: "KV" }),
  });
  const degraded = await ask("/api/v1/health");
  assert.equal(degraded.status, 503);
  assert.deepEqual(await degraded.json(), { status: "degraded", reason: "KV" });
});

Deno.test("createRoutes() hides what a route throws, and hands it to onError", async () => {
  const errors: unknown[] = [];
  const { ask } = routes({
    health: () => Promise.reject(new Error("secret")),
    onError: (error) => errors.push(error),
  });
  const response = await ask("/api/v1/health");
  assert.equal(response.status, 500);
  assert.deepEqual(await response.json(), {
    error: {
      code: "internal",
      message: "The server failed to answer this request",
    },
  });
  assert.deepEqual(errors.map(String), ["Error: secret"]);
});

for (const path of ["/", "/api/v1/nothing", "/toString", "/__proto__"]) {
  Deno.test(`createRoutes() answers ${path} by 404 as JSON where there is nothing`, async () => {
    const response = await routes({
      pages: { "/page": { body: "x", type: "text/plain" } },
    }).ask(path);
    assert.equal(response.status, 404);
    assert.match(
      response.headers.get("content-type") ?? "",
      /application\/json/,
    );
    assert.deepEqual(await response.json(), {
      error: { code: "not_found", message: `There is nothing at GET ${path}` },
    });
  });
}

Deno.test("createRoutes() serves pages as they are", async () => {
  const { ask } = routes({
    pages: {
      "/": { body: "<p>é</p>", type: "text/html; charset=utf-8" },
      "/app.js": {
        body: new Uint8Array([1, 2]),
        type: "text/javascript; charset=utf-8",
      },
    },
  });
  const page = await ask("/");
  assert.equal(await page.text(), "<p>é</p>");
  assert.equal(page.headers.get("content-type"), "text/html; charset=utf-8");
  assert.equal(page.headers.get("x-content-type-options"), "nosniff");
  const script = await ask("/app.js");
  assert.deepEqual(await script.bytes(), new Uint8Array([1, 2]));
  assert.equal((await ask("/app.js", {}, "POST")).status, 404);
  assert.equal((await ask("/", {}, "HEAD")).status, 200);
});

Deno.test("createRoutes() upgrades at any path, also where there is a page", async () => {
  const { ask, upgrades } = routes({
    pages: { "/": { body: "page", type: "text/plain" } },
  });
  for (const path of ["/", "/anything", "/api/v1/health"]) {
    assert.equal(await (await ask(path, UPGRADE)).text(), "upgraded");
  }
  assert.equal(
    await (await ask("/", { upgrade: "h2c, WebSocket" })).text(),
    "upgraded",
  );
  assert.equal(await (await ask("/", { upgrade: "h2c" })).text(), "page");
  assert.deepEqual(upgrades, Array(4).fill("10.0.0.1"));
});

Deno.test("createRoutes() upgrades at its path only where one is set", async () => {
  const { ask } = routes({ path: "/sync" });
  assert.equal(await (await ask("/sync?token=1", UPGRADE)).text(), "upgraded");
  assert.equal((await ask("/sync/", UPGRADE)).status, 404);
  assert.equal((await ask("/", UPGRADE)).status, 404);
  assert.equal((await ask("/sync")).status, 404);
});

const origins: [string, RouteOptions["cors"], string | undefined, boolean][] = [
  ["any by default", undefined, "https://evil.example", true],
  ["any with *", "*", "null", true],
  ["none, as of a program", ["https://a.example"], undefined, true],
  [
    "one that is listed",
    ["https://a.example", "https://b.example:8443"],
    "https://b.example:8443",
    true,
  ],
  ["one that is set by itself", "https://a.example", "https://a.example", true],
  [
    "one that is listed with a slash and capitals",
    "HTTPS://A.example:443/",
    "https://a.example",
    true,
  ],
  ["another", ["https://a.example"], "https://evil.example", false],
  ["another port", ["https://a.example"], "https://a.example:8443", false],
  ["another scheme", ["https://a.example"], "http://a.example", false],
  [
    "one that begins alike",
    ["https://a.example"],
    "https://a.example.evil.example",
    false,
  ],
  ["null", ["https://a.example"], "null", false],
  ["null that is listed", ["null"], "null", true],
  [
    "the own host, which a rebound name could claim",
    ["https://a.example"],
    "http://example.com",
    false,
  ],
  ["any with an empty list", [], "https://a.example", false],
];
for (const [claim, cors, origin, isAllowed] of origins) {
  Deno.test(`createRoutes() ${isAllowed ? "allows" : "refuses"} an upgrade from an origin: ${claim}`, async () => {
    const { ask, upgrades } = routes({ cors });
    const response = await ask("/", {
      ...UPGRADE,
      ...(origin !== undefined && { origin }),
    });
    assert.equal(upgrades.length, isAllowed ? 1 : 0);
    assert.equal(response.status, isAllowed ? 200 : 403);
    const text = await response.text();
    if (!isAllowed) {
      assert.equal(
        text,
        `Connections from the origin ${origin} are not allowed here\n`,
      );
    }
  });
}

Deno.test("createRoutes() upgrades and refuses over a real listener", async () => {
  const ports = denoPorts();
  const upgrade: RouteOptions["upgrade"] = (request, address) =>
    ports.upgrade(request, (socket) => {
      socket.send(new TextEncoder().encode(address));
      return { message() {}, closed() {} };
    });
  const health = () => Promise.resolve<Health>({ status: "ok" });
  const listener = await ports.listen(
    { host: "127.0.0.1", port: 0 },
    createRoutes({ upgrade, health, cors: ["https://a.example"] }),
  );
  const dial = (origin: string) => {
    // Deno takes options here, which the declaration of browsers does not know.
    const options = { headers: { origin } } as unknown as string[];
    const socket = new WebSocket(
      `ws://127.0.0.1:${listener.port}/any`,
      options,
    );
    socket.binaryType = "arraybuffer";
    return socket;
  };
  const allowed = dial("https://a.example");
  const closed = new Promise((resolve) => allowed.onclose = resolve);
  const { data } = await new Promise<MessageEvent>((resolve) =>
    allowed.onmessage = resolve
  );
  assert.equal(new TextDecoder().decode(data), "127.0.0.1");
  const refused = dial("https://evil.example");
  const error = await new Promise<Event>((resolve) =>
    refused.onerror = resolve
  );
  assert.match(error instanceof ErrorEvent ? error.message : "", /403/);
  const health200 = await fetch(
    `http://127.0.0.1:${listener.port}/api/v1/health`,
  );
  assert.deepEqual(await health200.json(), { status: "ok" });
  await listener.close();
  await closed;
});

for (
  const origin of [
    "example.com",
    "https://*.example.com",
    "https://a.example/app",
    "",
    "file:///x",
  ]
) {
  Deno.test(`createRoutes() refuses to be set up with the origin "${origin}"`, () => {
    assert.throws(
      () => routes({ cors: [origin] }),
      /TypeError: Cannot allow the origin/,
    );
  });
}

Deno.test("createRoutes() sends CORS headers on the API, not on pages", async () => {
  const open = routes({ pages: { "/": { body: "", type: "text/plain" } } });
  const headers = { origin: "https://a.example" };
  assert.equal(
    (await open.ask("/api/v1/health", headers)).headers.get(
      "access-control-allow-origin",
    ),
    "*",
  );
  assert.equal(
    (await open.ask("/", headers)).headers.get("access-control-allow-origin"),
    null,
  );
  const listed = routes({ cors: ["https://a.example"] });
  const allowed = await listed.ask("/api/v1/health", headers);
  assert.equal(
    allowed.headers.get("access-control-allow-origin"),
    "https://a.example",
  );
  assert.match(allowed.headers.get("vary") ?? "", /origin/i);
  const refused = await listed.ask("/api/v1/health", {
    origin: "https://evil.example",
  });
  assert.equal(refused.headers.get("access-control-allow-origin"), null);
  const preflight = await listed.ask(
    "/api/v1/health",
    { ...headers, "access-control-request-method": "GET" },
    "OPTIONS",
  );
  assert.equal(preflight.status, 204);
  assert.equal(
    preflight.headers.get("access-control-allow-origin"),
    "https://a.example",
  );
});

const addresses: [string, string | undefined, boolean, string | undefined][] = [
  ["the peer's without trust", "1.1.1.1", false, "10.0.0.1"],
  ["the peer's without the header", undefined, true, "10.0.0.1"],
  ["the header's with trust", "1.1.1.1", true, "1.1.1.1"],
  [
    "the last one, for the client can write those before",
    "6.6.6.6, 1.1.1.1",
    true,
    "1.1.1.1",
  ],
  ["the peer's where the last one is empty", "6.6.6.6, ", true, "10.0.0.1"],
];
for (const [claim, forwarded, trustProxy, expected] of addresses) {
  Deno.test(`addressOf() gives ${claim}`, async () => {
    const headers = {
      ...UPGRADE,
      ...(forwarded !== undefined && { "x-forwarded-for": forwarded }),
    };
    const request = new Request("http://example.com", { headers });
    assert.equal(addressOf(request, "10.0.0.1", { trustProxy }), expected);
    const { ask, upgrades } = routes({ trustProxy });
    await (await ask("/", headers)).body?.cancel();
    assert.deepEqual(upgrades, [expected]);
  });
}
