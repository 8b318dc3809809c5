/**
 * Inputs that were found to fail, run again: all of one, alone, on a fresh server
 * where it needs one.
 *
 * @module
 */
import { CodecTarget, type Found } from "./codec_target.ts";
import { FuzzedServer } from "./fuzzed_server.ts";
import { runLane } from "./http_target.ts";
import { fateOf, runScript, type Script } from "./live_script.ts";
import type { Message } from "./peer.ts";
import { measureAlone } from "./stopwatch.ts";

/** What is kept of something that was found. */
export type FuzzCase = Pick<Found, "target" | "decoder" | "hex">;

/** What fails with this case now; undefined: nothing. */
export async function failureOf(
  { target, decoder, hex }: FuzzCase,
): Promise<string | undefined> {
  if (target === "codec") {
    const codec = await CodecTarget.create();
    for (const text of hex) {
      const bytes = Uint8Array.fromHex(text);
      const failure = await codec.failureOf({ decoder, bytes });
      if (failure !== undefined) return failure;
    }
    return undefined;
  }
  await using server = await start(decoder);
  try {
    await server.check();
    if (target === "live") await runScripts(server, toScripts(hex));
    else await runRequests(server.port, hex);
    // The second look is behind whatever the first one made room for.
    await server.check();
    await server.check();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** How long a server handles a message that is sent to it alone. */
export async function timeOfMessage(hex: string): Promise<number> {
  await using server = await FuzzedServer.start();
  return await measureAlone(async () => {
    await runScripts(server, toScripts(["hello", hex]));
    const { slow } = await server.report();
    return Math.max(0, ...slow.map(({ ms }) => ms));
  });
}

/** What was found in one thread fails the same on a socket. */
function start(way: string): Promise<FuzzedServer> {
  return FuzzedServer.start(way === "hardened" ? way : "native");
}

async function runScripts(
  server: FuzzedServer,
  scripts: readonly Script[],
): Promise<void> {
  const learned = { token() {}, session() {} };
  for (const script of scripts) {
    await runScript(() => server.open(), script, { tally: {}, learned });
  }
}

async function runRequests(
  port: number,
  hex: readonly string[],
): Promise<void> {
  for (const text of hex) {
    const bytes = Uint8Array.fromHex(text);
    const isHead = new TextDecoder().decode(bytes.subarray(0, 5)) === "HEAD ";
    // Nothing is known of it but its bytes, so it may stay without an answer.
    await runLane(port, [{ row: "no HTTP", bytes, isHead }], {});
  }
}

/** "hello" and "connect" begin a connection, with and without a proper hello; "text " is a text. */
function toScripts(hex: readonly string[]): Script[] {
  const scripts: { hello: boolean; messages: Message[]; closer?: Message }[] =
    [];
  for (const item of hex) {
    if (item === "hello" || item === "connect") {
      scripts.push({ hello: item === "hello", messages: [] });
      continue;
    }
    const script = scripts.at(-1);
    if (!script || script.closer !== undefined) continue;
    const message = item.startsWith("text ")
      ? item.slice(5)
      : Uint8Array.fromHex(item);
    const isWelcomed = script.hello || script.messages.length > 0;
    if (fateOf(message, isWelcomed).code === undefined) {
      script.messages.push(message);
    } else script.closer = message;
  }
  return scripts;
}
