/**
 * The application that is fuzzed: stores and functions for hostile clients, one
 * store for an honest one, and a stop-watch around every message.
 *
 * @module
 */
import { cpuUsage } from "node:process";
import { configure } from "@logtape/logtape";
import { START_PAGES } from "../../adapters/start_app.ts";
import { HeadwaterError } from "../../protocol/errors.ts";
import {
  bellKey,
  feedKey,
  pendingKey,
  slotKey,
} from "../../server/log/keys.ts";
import type { Kv, KvKey, Ports, SocketEvents } from "../../server/ports.ts";
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
const TICK_MS = 5;

/** Hands over every error that is logged and that no hostile peer or KV must be able to cause. */
export async function watchLog(onError: (text: string) => void): Promise<void> {
  await configure({
    reset: true,
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
        const stack = error instanceof Error ? error.stack : error;
        onError(`${level} ${message.join("")} ${stack}`);
      },
    },
    loggers: [
      { category: "headwater", sinks: ["errors"], lowestLevel: "debug" },
      { category: ["logtape", "meta"], lowestLevel: "error" },
    ],
  });
}

/** See the module's documentation. */
export class FuzzedApp {
  /** The server, which does not listen yet. */
  readonly server: Server;
  readonly #kv: Kv;
  readonly #memory: () => number;
  readonly #ticking: ReturnType<typeof setInterval>;
  #messages = 0;
  #slow: ServerReport["slow"] = [];
  #slowestMs = 0;
  #longestTurnMs = 0;

  /** Defines everything; `memory` says in bytes what the server holds, with others perhaps. */
  constructor({ kv, ports, memory }: {
    kv: Kv;
    ports: Ports;
    memory: () => number;
  }) {
    this.#kv = kv;
    this.#memory = memory;
    this.server = new Server({
      kv,
      pages: START_PAGES,
      // A store remembers who wrote for as long as sessions live: for a day, that would
      // be everybody, and hide what else grows.
      limits: { idleMs: 500, sessionMs: 30_000, connectionsPerAddress: 10_000 },
    }, {
      ...ports,
      upgrade: (request, accept) =>
        ports.upgrade(request, (socket) => this.#timed(accept(socket))),
    });
    this.#defineHonest();
    this.#defineHostile();
    let turnAtMs = performance.now();
    this.#ticking = setInterval(() => {
      const now = performance.now();
      this.#longestTurnMs = Math.max(this.#longestTurnMs, now - turnAtMs);
      turnAtMs = now;
    }, TICK_MS);
  }

  /** Closes the server; the KV stays its owner's. */
  async close(): Promise<void> {
    clearInterval(this.#ticking);
    await this.server.close();
  }

  #defineHonest(): void {
    const { server } = this;
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
    server.handle("fuzz.plant", async (args) => {
      await this.#plant(args as PlantArguments); // from the fuzzer itself
    });
    server.handle("fuzz.report", () => this.#report());
  }

  #defineHostile(): void {
    const { server } = this;
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
  }

  /** Puts hostile bytes into the place of a record. */
  async #plant({ what, hex, name, n }: PlantArguments): Promise<void> {
    const bytes = Uint8Array.fromHex(hex);
    const atomic = this.#kv.atomic();
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
      for (const [at, value] of storedStore(id, { [key]: bytes })) {
        set(at, value);
      }
    }
    await atomic.commit();
  }

  #report(): ServerReport {
    const report = {
      messages: this.#messages,
      slow: this.#slow,
      slowestMs: this.#slowestMs,
      longestTurnMs: this.#longestTurnMs,
      memoryBytes: this.#memory(),
    };
    this.#slow = [];
    this.#longestTurnMs = 0;
    return report;
  }

  /** Takes the time of each message, from its arrival until the event is over. */
  #timed(events: SocketEvents): SocketEvents {
    return {
      message: (data) => {
        const before = cpuUsage();
        const startedMs = performance.now();
        events.message(data);
        const wallMs = performance.now() - startedMs;
        const { user, system } = cpuUsage(before);
        // Others use the machine, too: the time of the processor counts where it is less.
        const ms = Math.min(wallMs, (user + system) / 1_000);
        this.#messages++;
        this.#slowestMs = Math.max(this.#slowestMs, ms);
        if (ms <= SLOW_MS || this.#slow.length >= SLOW_KEPT) return;
        const bytes = typeof data === "string"
          ? new TextEncoder().encode(data)
          : data;
        this.#slow = [...this.#slow, { hex: bytes.toHex(), ms }];
      },
      closed: () => events.closed(),
    };
  }
}
