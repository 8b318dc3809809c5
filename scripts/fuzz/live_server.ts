/**
 * The server that is fuzzed, as a process of its own: real sockets, a real KV, a
 * stop-watch around every message. Whatever it logs as an error that a hostile
 * peer or KV must not be able to cause goes to standard error, where the fuzzer
 * looks; an unhandled rejection ends the process.
 *
 * @module
 */
import { cpuUsage } from "node:process";
import { configure } from "@logtape/logtape";
import { denoPorts } from "../../adapters/deno_ports.ts";
import { START_PAGES } from "../../adapters/start_app.ts";
import { HeadwaterError } from "../../protocol/errors.ts";
import {
  bellKey,
  feedKey,
  pendingKey,
  slotKey,
} from "../../server/log/keys.ts";
import type { KvKey, Ports, SocketEvents } from "../../server/ports.ts";
import { Server } from "../../server/server.ts";
import { SLOW_MS } from "./contract.ts";
import type {
  HonestState,
  PlantArguments,
  ServerReport,
} from "./live_protocol.ts";
import { storedStore } from "./stored_store.ts";

/** Items that a list holds: what hostile clients add must not be what grows. */
const ITEMS = 20;
/** Slow messages that are remembered. */
const SLOW_KEPT = 20;

await configure({
  sinks: {
    errors: ({ level, message, properties }) => {
      const { error } = properties;
      if (level !== "error" && level !== "fatal") return;
      // A store whose records were planted cannot be read: that is said, and is all.
      if (
        error instanceof HeadwaterError && error.code === "store_unreadable"
      ) {
        return;
      }
      console.error(level, message.join(""), error);
    },
  },
  loggers: [
    { category: "headwater", sinks: ["errors"], lowestLevel: "debug" },
    { category: ["logtape", "meta"], lowestLevel: "error" },
  ],
});

const report: { -readonly [K in keyof ServerReport]: ServerReport[K] } = {
  messages: 0,
  slow: [],
  slowestMs: 0,
  longestTurnMs: 0,
  rss: 0,
};

/** Takes the time of each message, from its arrival until the event is over. */
function timed(events: SocketEvents): SocketEvents {
  return {
    message(data) {
      const before = cpuUsage();
      const startedMs = performance.now();
      events.message(data);
      const wallMs = performance.now() - startedMs;
      const { user, system } = cpuUsage(before);
      // Others use the machine, too: the time of the processor counts where it is less.
      const ms = Math.min(wallMs, (user + system) / 1_000);
      report.messages++;
      report.slowestMs = Math.max(report.slowestMs, ms);
      if (ms <= SLOW_MS || report.slow.length >= SLOW_KEPT) return;
      const bytes = typeof data === "string"
        ? new TextEncoder().encode(data)
        : data;
      report.slow = [...report.slow, { hex: bytes.toHex(), ms }];
    },
    closed: () => events.closed(),
  };
}

const base = denoPorts();
const ports: Ports = {
  ...base,
  upgrade: (request, accept) =>
    base.upgrade(request, (socket) => timed(accept(socket))),
};
const { kv } = await ports.openKv(":memory:");
const server = new Server({
  kv,
  pages: START_PAGES,
  // A store remembers who wrote for as long as sessions live: for a day, that would
  // be everybody, and hide what else grows.
  limits: { idleMs: 500, sessionMs: 30_000, connectionsPerAddress: 10_000 },
}, ports);

const honest = server.createStore<HonestState>("Honest", {
  n: 0,
  sum: 0,
  recent: [],
});
server.handle("honest.write", async ({ n }: { n: number }) => {
  const { value } = await honest.update((draft) => {
    draft.n += 1;
    draft.sum += n;
    draft.recent.unshift(n);
    draft.recent.length = Math.min(draft.recent.length, 10);
    return draft.n;
  });
  return value;
});

const entries = server.createStore("Entries", { items: [] as unknown[] });
const rooms = server.createStore("Room:*", { messages: [] as unknown[] });
server.handle("echo", (args) => args ?? null);
server.handle("once", (args) => args ?? null, { once: true });
server.handle("entries.add", async (args) => {
  const { value } = await entries.update((draft) => {
    draft.items.push(args ?? null);
    if (draft.items.length > ITEMS) draft.items.splice(0, 1);
    return draft.items.length;
  });
  return value;
});
server.handle("rooms.say", async (args) => {
  const { room, text } = args as { room: string; text: unknown };
  await rooms.update(room, (draft) => {
    draft.messages.push(text);
    if (draft.messages.length > ITEMS) draft.messages.splice(0, 1);
  });
});
server.handle("fail", () => {
  throw new TypeError("A handler that throws");
});

server.handle("fuzz.plant", async (args) => {
  const { what, hex, name, n } = args as PlantArguments;
  const bytes = Uint8Array.fromHex(hex);
  const atomic = kv.atomic();
  const set = (key: KvKey, value: unknown) => atomic.set(key, value);
  if (what === "feed") {
    set(feedKey("planted"), bytes).sum(bellKey(), 1n);
  } else if (what === "feed slot") {
    set(slotKey("planted", n), bytes);
    set(feedKey("planted"), Uint8Array.from([0x81, 0xa1, 0x73, n & 0x7f]));
    atomic.sum(bellKey(), 1n);
  } else if (what === "marker") {
    set(pendingKey(`planted${n}`), bytes);
  } else {
    const id = { namespace: "default", name };
    const key = ({
      "head": "head",
      "log entry": "entry",
      "blob reference": "blobRef",
    } as const)[what];
    for (const [at, value] of storedStore(id, { [key]: bytes })) set(at, value);
  }
  await atomic.commit();
});

server.handle("fuzz.report", (): ServerReport => {
  const answer = { ...report, rss: Deno.memoryUsage().rss };
  report.slow = [];
  report.longestTurnMs = 0;
  return answer;
});

let turnAtMs = performance.now();
setInterval(() => {
  const now = performance.now();
  report.longestTurnMs = Math.max(report.longestTurnMs, now - turnAtMs);
  turnAtMs = now;
}, 5);

await server.listen({ port: 0, host: "127.0.0.1" });
console.log(`listening ${server.port}`);
