/**
 * The server that is killed, as a process. Its first argument is JSON
 * ({@linkcode ServerProcessOptions}); it says what it has committed by itself,
 * line by line, and ends when its standard input does.
 *
 * @module
 */
import { configure } from "@logtape/logtape";
import { denoPorts } from "../../adapters/deno_ports.ts";
import { Sweeper } from "../../server/log/blobs.ts";
import { createServer, Server, type StaticStore } from "../../server/mod.ts";
import type { Kv } from "../../server/ports.ts";
import { defineTorture, type Items } from "./app.ts";
import { KillSwitch } from "./kill_switch.ts";
import { decodeOrder, KILL_AT } from "./points.ts";

/** What the process is started with. */
export interface ServerProcessOptions {
  /** Path of the KV file. */
  readonly kv: string;
  /**
   * How the server gets its KV: by its path; by its path, watched; or opened and
   * watched, which counts as far away.
   */
  readonly open: "plain" | "file" | "object";
  /** Begins the labels of its own updates; absent: it makes none. */
  readonly ticks?: string | undefined;
}

/**
 * A compaction that was given up: the sweeps below take snapshots from those who are
 * still writing them, and another process may lock the file.
 */
const HARMLESS = /Blob \S+ was swept|outcome of a commit is not known/;
/** Time between two own updates. */
const TICK_MS = 8;
/** Time between two sweeps. They spare nobody, the living least of all. */
const SWEEP_MS = 700;

const options: ServerProcessOptions = JSON.parse(Deno.args[0] ?? "{}");
await configure({
  sinks: {
    errors: ({ level, message, properties }) => {
      if (level !== "error" && level !== "fatal") return;
      const text = message.join("");
      if (HARMLESS.test(text)) return;
      console.error(level, text, properties["error"]);
    },
  },
  loggers: [
    { category: "headwater", sinks: ["errors"], lowestLevel: "debug" },
    { category: ["logtape", "meta"], lowestLevel: "error" },
  ],
});
// Whoever started it is gone: nobody else would end it.
void (async () => {
  for await (const _ of Deno.stdin.readable);
  Deno.exit();
})();

const server = await open(options);
const ticker = defineTorture(server);
await server.listen({ port: 0, host: "127.0.0.1" });
say(`listening ${server.port}`);
if (options.ticks !== undefined) await tick(ticker, options.ticks);

async function open(
  { kv, open }: ServerProcessOptions,
): Promise<Server> {
  if (open === "plain") return createServer({ kv });
  const order = Deno.env.get(KILL_AT);
  const killer = new KillSwitch(order ? decodeOrder(order) : undefined);
  const host = denoPorts();
  const opened = await host.openKv(kv);
  void sweepOn(killer.watch(opened.kv));
  const options = open === "file" ? { kv } : { kv: killer.watch(opened.kv) };
  return new Server(options, killer.ports(host));
}

/** Sweeps what crashes left behind, which the server itself would leave alone for ten minutes. */
async function sweepOn(kv: Kv): Promise<void> {
  const sweeper = new Sweeper(kv, () => performance.now(), 0);
  for (;;) {
    // Where another process has locked the database: next time.
    await sweeper.sweep().catch(() => {});
    await delay(SWEEP_MS);
  }
}

async function tick(store: StaticStore<Items>, prefix: string): Promise<void> {
  for (let n = 1;; n++) {
    const label = `${prefix}.${n}`;
    try {
      const { value, version } = await store.update((draft) => {
        draft.items.push(label);
        return draft.items.length;
      });
      say(`tick ${label} ${value} ${version}`);
    } catch {
      say(`unknown ${label}`);
    }
    await delay(TICK_MS);
  }
}

/** At once, so that what was said is what was committed, whenever the process dies. */
function say(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
