/**
 * The command line: settings from the environment, logs on the console, and an
 * end that loses nothing.
 *
 * @module
 */
import { configure, getConsoleSink, type LogLevel } from "@logtape/logtape";
import { relative } from "node:path";
import process from "node:process";
import { checkKvLocation } from "../server/kv_location.ts";
import type { ServerOptions } from "../server/options.ts";
import type { Transport } from "../server/ports.ts";
import type { Server } from "../server/server.ts";
import { answerArguments } from "./cli_arguments.ts";
import { endBySignal } from "./end_by_signal.ts";
import { defineStartApp, START_PAGES } from "./start_app.ts";

const LOG_LEVELS: readonly LogLevel[] = [
  "trace",
  "debug",
  "info",
  "warning",
  "error",
  "fatal",
];

/** Whether it runs on Deno; else on Node. */
const IS_DENO = "Deno" in globalThis;

/** What the environment may set. */
export interface CliSettings {
  /** `PORT`, default 4400; 0 lets the system choose. */
  readonly port: number;
  /** `HOST`, default localhost. */
  readonly host: string;
  /** `HEADWATER_KV`, default `.headwater/state.db`. */
  readonly kv: string;
  /** `HEADWATER_TRANSPORT`, native or hardened; default native. */
  readonly transport: Transport;
  /** `LOG_LEVEL`, default info. */
  readonly logLevel: LogLevel;
}

/**
 * Reads the settings by `get`, which returns the value of one variable.
 *
 * @throws {RangeError} If a value is of no use; the message names the variable.
 */
export function readSettings(
  get: (name: string) => string | undefined,
): CliSettings {
  const read = (name: string, fallback: string) =>
    get(name)?.trim() || fallback;
  const port = read("PORT", "4400");
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535) {
    throw new RangeError(
      `PORT must be a number from 0 to 65535, found "${port}"`,
    );
  }
  const host = read("HOST", "localhost");
  if (!/^[\w.:%[\]-]+$/.test(host)) {
    throw new RangeError(`HOST must be a name or an address, found "${host}"`);
  }
  const kv = read("HEADWATER_KV", ".headwater/state.db");
  checkKvLocation(kv, "HEADWATER_KV");
  const transport = read("HEADWATER_TRANSPORT", "native").toLowerCase();
  if (transport !== "native" && transport !== "hardened") {
    throw new RangeError(
      `HEADWATER_TRANSPORT must be native or hardened, found "${transport}"`,
    );
  }
  const level = read("LOG_LEVEL", "info").toLowerCase();
  const logLevel = LOG_LEVELS.find((known) => known === level);
  if (logLevel === undefined) {
    throw new RangeError(
      `LOG_LEVEL must be one of ${LOG_LEVELS.join(", ")}, found "${level}"`,
    );
  }
  return { port: Number(port), host, kv, transport, logLevel };
}

/**
 * Runs a server with the start page, made by `createServer`, until a signal ends it;
 * or says what it was asked by an argument.
 */
export async function runCli(
  createServer: (options: ServerOptions) => Server,
): Promise<void> {
  const answer = answerArguments(process.argv.slice(2), IS_DENO);
  if (answer) {
    process.exitCode = answer.exitCode;
    if (answer.exitCode === 0) console.log(answer.text);
    else console.error(answer.text);
    return;
  }
  let settings: CliSettings;
  try {
    settings = readSettings((name) => process.env[name]);
  } catch (error) {
    return fail(error);
  }
  await configure({
    sinks: { console: getConsoleSink() },
    loggers: [
      {
        category: "headwater",
        sinks: ["console"],
        lowestLevel: settings.logLevel,
      },
      {
        category: ["logtape", "meta"],
        sinks: ["console"],
        lowestLevel: "warning",
      },
    ],
  });
  const server = createServer({ kv: settings.kv, pages: START_PAGES });
  defineStartApp(server);
  const undo = endBySignal(async () => {
    console.log("\n  Stopping");
    await server.close().catch(fail);
  });
  try {
    const { port, host, transport } = settings;
    await server.listen({ port, host, transport });
  } catch (error) {
    undo();
    fail(error);
    return await server.close();
  }
  console.log(banner(settings, server));
}

function banner({ host, kv }: CliSettings, server: Server): string {
  const name = host.includes(":") && !host.startsWith("[") ? `[${host}]` : host;
  // Deno lets nobody read a variable who has no leave for it.
  const isPlain = IS_DENO ? Deno.noColor : Boolean(process.env["NO_COLOR"]);
  const bold = (text: string) =>
    isPlain || !process.stdout.isTTY ? text : `\x1b[1m${text}\x1b[0m`;
  return [
    "",
    `  ${bold("Headwater")}`,
    "",
    `  Listening  ${bold(`http://${name}:${server.port}`)}`,
    `  Data       ${describeData(kv)}`,
    "  Stop       Ctrl+C",
    "",
  ].join("\n");
}

function describeData(kv: string): string {
  if (kv === ":memory:") return "in memory, gone when the server stops";
  if (URL.canParse(kv)) return new URL(kv).host;
  const path = relative(process.cwd(), kv);
  return path.startsWith("..") ? kv : path;
}

/** One line, no stack: what is wrong is outside of the program. */
function fail(error: unknown): void {
  const message = error instanceof Error ? error.message : String(error);
  const cause = error instanceof Error ? error.cause : undefined;
  const isTaken = cause instanceof Error && "code" in cause &&
    cause.code === "EADDRINUSE";
  console.error(
    `Headwater stops: ${message}${
      isTaken ? "; PORT chooses another one, 0 any" : ""
    }`,
  );
  process.exitCode = 1;
}
