/**
 * What the command line says when it is asked, and what it refuses.
 *
 * @module
 */

/** That of deno.json, which what runs from the registry cannot read; a test compares them. */
const VERSION = "0.1.0";

/** Exit code for a command line that cannot be understood. */
const MISUSE = 2;

/** What to print in place of a server, and the exit code. */
export interface Answer {
  readonly text: string;
  readonly exitCode: number;
}

/** The answer to these arguments; undefined where there are none, and a server is wanted. */
export function answerArguments(
  args: readonly string[],
  isDeno: boolean,
): Answer | undefined {
  const known: ReadonlyMap<string, string> = new Map([
    ["--help", usageOf(isDeno)],
    ["-h", usageOf(isDeno)],
    ["--version", VERSION],
    ["-V", VERSION],
  ]);
  const unknown = args.find((arg) => !known.has(arg));
  if (unknown !== undefined) {
    return {
      text:
        `Headwater stops: there is no argument "${unknown}"; it is set by variables, which --help lists`,
      exitCode: MISUSE,
    };
  }
  const text = args.map((arg) => known.get(arg)).find((text) =>
    text !== undefined
  );
  return text === undefined ? undefined : { text, exitCode: 0 };
}

/** What is printed where help is asked for. */
function usageOf(isDeno: boolean): string {
  const [command, other] = isDeno
    ? ["deno task start", "\n   or  deno run -A --unstable-kv server/mod.ts"]
    : ["npx headwater", ""];
  return `Headwater ${VERSION}: a server with its start page

Usage: ${command} [--help | --version]${other}

It is set by environment variables:

  PORT                 Port; 0 lets the system choose      4400
  HOST                 Name or address to listen on        localhost
  HEADWATER_KV         Path, ":memory:" or KV Connect URL  .headwater/state.db
  HEADWATER_TRANSPORT  native, or hardened: for the open   native
                       internet without a proxy
  LOG_LEVEL            trace debug info warning error      info
                       fatal
  DENO_KV_ACCESS_TOKEN Token, where HEADWATER_KV is a URL  none

An example: PORT=8080 HEADWATER_KV=:memory: ${command}`;
}
