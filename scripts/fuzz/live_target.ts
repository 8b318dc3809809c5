/**
 * The second target: a whole server, in this thread or with real sockets. Hostile
 * clients talk to it, most of them after a proper hello, while an honest one goes on.
 *
 * @module
 */
import { encodeFrame, joinFrames } from "../../protocol/codec.ts";
import { SeededRandom } from "../../tests/_arbitraries.ts";
import { HOSTILE_MESSAGES } from "../../tests/_hostile_messages.ts";
import { CodecTarget, type Found } from "./codec_target.ts";
import { DraftWriter } from "./draft.ts";
import { peekFrame, rowOfFrame } from "./frame_decoders.ts";
import {
  boldFrame,
  type Knowledge,
  newKnowledge,
  UP_ROWS,
  upDraft,
  upFrame,
  type UpRow,
} from "./frame_drafts.ts";
import { FuzzedServer } from "./fuzzed_server.ts";
import { InnerServer } from "./inner_server.ts";
import { PLANTED, type ServerReport } from "./live_protocol.ts";
import { fateOf, type Learned, runScript, type Script } from "./live_script.ts";
import { editDraft, mutateBytes, randomBytes } from "./mutations.ts";
import type { FuzzHost, Message } from "./peer.ts";
import { isMostlySlow } from "./stopwatch.ts";
import { countRefused, rowOf, type Tally } from "./tally.ts";
import { HOSTILE_TEXTS } from "./wrong_values.ts";

/** How a server is reached. */
export const WAYS = ["in one thread", "native", "hardened"] as const;
/** One of {@linkcode WAYS}. */
export type Way = typeof WAYS[number];

/** Hostile connections at a time: more where they cost no system calls. */
const LANES = { "in one thread": 24, "native": 6, "hardened": 6 } as const;
/** Messages of one connection, at most. */
const MESSAGES = 32;
/** Rounds between two records that are planted in the KV. */
const PLANT_ROUNDS = 10;
/** Tokens of sessions that are remembered. */
const SESSIONS = 50;

/** What a run of this target gives. */
export interface LiveResult {
  readonly way: Way;
  readonly frames: Tally;
  readonly found: Found[];
  /** Frames that were sent after a proper hello. */
  readonly greeted: number;
  readonly connections: number;
  readonly planted: number;
  readonly honestWrites: number;
  /** Messages that took too long under load: they are to be measured again alone. */
  readonly slow: readonly SlowMessage[];
  /** Whether it ended early, with one slow message after the other. */
  readonly isCut: boolean;
  /** The longest that the server handled one message, under load. */
  readonly slowestMs: number;
  readonly longestTurnMs: number;
  readonly bytesBefore: number;
  readonly bytesAfter: number;
}

/** A message in hexadecimal, and how long it was handled under load. */
export type SlowMessage = ServerReport["slow"][number];

/** How much of this target to run. */
export interface LiveRun {
  readonly way: Way;
  readonly seed: number;
  readonly frames: number;
  /** Told how many frames were sent so far. */
  readonly onProgress?: (frames: number) => void;
}

/** Names of stores: defined, not defined, dynamic, hostile, and those whose records are planted. */
const STORES = [
  "Entries",
  "Entries",
  "Room:general",
  "Room:e\u0301",
  "Room:__proto__",
  "Honest",
  "Nope",
  ...HOSTILE_TEXTS.filter((name) => name !== "").slice(0, 12)
    .map((text) => `Room:${text}`),
];

const CALLS: Knowledge["calls"] = [
  { name: "echo", args: { text: "hi" } },
  { name: "echo" },
  { name: "once", args: [1, 2] },
  { name: "entries.add", args: { label: "x" } },
  { name: "rooms.say", args: { room: "general", text: "hi" } },
  { name: "rooms.say", args: { room: "e\u0301", text: { a: [1] } } },
  { name: "rooms.say", args: { room: "__proto__", text: null } },
  { name: "fail", args: null },
  { name: "nobody.handles" },
  { name: "toString" },
];

/** One message, and the frame that it is meant to be. */
interface Aimed {
  readonly row: UpRow;
  readonly message: Message;
}

/** See the module's documentation. */
export class LiveTarget {
  readonly #random: SeededRandom;
  readonly #writer = new DraftWriter();
  readonly #codec: CodecTarget;
  readonly #known: Knowledge;
  readonly #stores = [...STORES];
  readonly #tally: Tally = {};
  readonly #learned: Learned;
  readonly #found: Found[] = [];
  readonly #way: Way;
  readonly #server: FuzzHost;
  #closers: Aimed[] = [];
  #sent = 0;
  #greeted = 0;
  #connections = 0;
  #planted = 0;
  #honestWrites = 0;
  readonly #slow: SlowMessage[] = [];
  #slowestMs = 0;
  #longestTurnMs = 0;

  private constructor(
    { seed, way }: LiveRun,
    { codec, server }: { codec: CodecTarget; server: FuzzHost },
  ) {
    this.#random = new SeededRandom(seed);
    this.#way = way;
    this.#codec = codec;
    this.#server = server;
    this.#known = newKnowledge(this.#stores, CALLS);
    this.#learned = {
      token: (name, token) => void this.#known.tokens.set(name, token),
      session: (token) => {
        const { sessions } = this.#known;
        if (sessions.length < SESSIONS) sessions.push(token);
        else sessions[this.#random.below(SESSIONS)] = token;
      },
    };
  }

  /** Runs on a server of its own. */
  static async run(options: LiveRun): Promise<LiveResult> {
    const codec = await CodecTarget.create();
    const { way } = options;
    await using server =
      await (way === "in one thread"
        ? InnerServer.start()
        : FuzzedServer.start(way));
    return await new LiveTarget(options, { codec, server }).#run(options);
  }

  async #run({ frames, onProgress }: LiveRun): Promise<LiveResult> {
    await this.#server.check();
    const { memoryBytes: bytesBefore } = await this.#server.report();
    for (let round = 0; this.#sent < frames && !this.#isCut; round++) {
      if (round % PLANT_ROUNDS === 1) await this.#plant();
      if (!await this.#round()) break;
      onProgress?.(this.#sent);
    }
    const { memoryBytes: bytesAfter } = this.#found.length > 0
      ? { memoryBytes: bytesBefore }
      : await this.#server.report();
    return {
      way: this.#way,
      frames: this.#tally,
      found: this.#found,
      greeted: this.#greeted,
      connections: this.#connections,
      planted: this.#planted,
      honestWrites: this.#honestWrites,
      slow: this.#slow,
      isCut: this.#isCut,
      slowestMs: this.#slowestMs,
      longestTurnMs: this.#longestTurnMs,
      bytesBefore,
      bytesAfter,
    };
  }

  /** Whether nearly everything is slow: the rest would take for ever. */
  get #isCut(): boolean {
    return isMostlySlow(this.#slow.length, this.#sent);
  }

  /** Some hostile connections at once, then a look at the honest one; false where something failed. */
  async #round(): Promise<boolean> {
    const scripts = Array.from(
      { length: LANES[this.#way] },
      () => this.#makeScript(),
    );
    const results = await Promise.allSettled(
      scripts.map((script) => this.#runScript(script)),
    );
    for (const [lane, result] of results.entries()) {
      if (result.status === "fulfilled") continue;
      this.#found.push(this.#toFound([scripts[lane]!], result.reason)); // one result each
    }
    try {
      await this.#server.check();
      this.#honestWrites++;
      await this.#measure();
    } catch (error) {
      this.#found.push(this.#toFound(scripts, error));
    }
    return this.#found.length === 0;
  }

  async #runScript(script: Script): Promise<void> {
    this.#connections++;
    await runScript(() => this.#server.open(), script, {
      tally: this.#tally,
      learned: this.#learned,
    });
  }

  /** Notes what the server has measured. */
  async #measure(): Promise<void> {
    const report = await this.#server.report();
    this.#slowestMs = Math.max(this.#slowestMs, report.slowestMs);
    this.#longestTurnMs = Math.max(this.#longestTurnMs, report.longestTurnMs);
    this.#slow.push(...report.slow);
  }

  /** Messages after which the connection goes on, and one that ends it. */
  #makeScript(): Script {
    const messages: Message[] = [];
    const hello = this.#random.below(12) > 0;
    if (!hello) {
      const first = this.#makeMessage();
      this.#count(first, false);
      const isLast = fateOf(first.message, false).code !== undefined;
      return {
        hello,
        messages: isLast ? [] : [first.message],
        closer: isLast ? first.message : undefined,
      };
    }
    while (
      messages.length < MESSAGES && this.#closers.length < LANES[this.#way] * 4
    ) {
      const made = this.#makeMessage();
      if (fateOf(made.message, true).code !== undefined) {
        this.#closers.push(made);
        continue;
      }
      this.#count(made, true);
      messages.push(made.message);
    }
    const closer = this.#closers.shift();
    if (closer) {
      this.#count(closer, true);
    }
    return { hello, messages, closer: closer?.message };
  }

  #count({ row: aimed, message }: Aimed, isGreeted: boolean): void {
    const fate = fateOf(message, isGreeted);
    // One message may hold several frames.
    const frames = fate.code === undefined ? fate.frames.map(rowOfFrame) : [];
    const count = Math.max(1, frames.length);
    this.#sent += count;
    if (isGreeted) this.#greeted += count;
    for (const row of frames) rowOf(this.#tally, row).frames++;
    if (fate.code !== undefined) {
      this.#countClosed({ row: aimed, message }, isGreeted, fate.code);
    }
  }

  #countClosed(
    { row: aimed, message }: Aimed,
    isGreeted: boolean,
    code: number,
  ): void {
    const peeked = typeof message === "string"
      ? undefined
      : peekFrame(message, UP_ROWS);
    const row = rowOf(this.#tally, peeked ?? aimed);
    row.frames++;
    if (peeked !== undefined && isGreeted) row.reached++;
    countRefused(row, `close ${code}`);
  }

  #makeMessage(): Aimed {
    const random = this.#random;
    const row = random.pick(UP_ROWS);
    const kind = random.below(40);
    if (kind === 0) return { row, message: randomBytes(random) };
    if (kind === 1) {
      return { row, message: random.pick(HOSTILE_MESSAGES).message };
    }
    const valid = () => encodeFrame(upFrame(row, random, this.#known));
    if (kind < 4) {
      // Several frames in one message, the last of them perhaps cut.
      const frames = Array.from({ length: 1 + random.below(4) }, () => {
        return encodeFrame(
          upFrame(random.pick(UP_ROWS), random, this.#known),
        );
      });
      return { row, message: joinFrames(frames) };
    }
    if (kind < 20) {
      return {
        row,
        message: encodeFrame(boldFrame(row, random, this.#known)),
      };
    }
    if (kind < 29) {
      const other = encodeFrame(
        upFrame(random.pick(UP_ROWS), random, this.#known),
      );
      return { row, message: mutateBytes(valid(), other, random) };
    }
    const draft = upDraft(row, random, this.#known);
    const edits = random.below(3);
    return {
      row,
      message: this.#writer.write(editDraft(draft, random, edits)),
    };
  }

  /** Hostile bytes in the place of a record of a store that nobody has loaded yet. */
  async #plant(): Promise<void> {
    const random = this.#random;
    const what = random.pick([...PLANTED, "feed"] as const);
    const n = ++this.#planted;
    const decoder = what === "feed" ? "marker" : what;
    let made = this.#codec.makeCase(
      random.below(2 ** 31),
      random.below(10_000),
    );
    for (let tries = 0; made.decoder !== decoder && tries < 200; tries++) {
      made = this.#codec.makeCase(random.below(2 ** 31), random.below(10_000));
    }
    const name = `Room:planted${n}`;
    await this.#server.plant({ what, hex: made.bytes.toHex(), name, n });
    this.#stores[this.#stores.length - 1 - n % 5] = name;
  }

  /** Scripts as a case: texts of hexadecimal, "hello" for a proper one. */
  #toFound(scripts: readonly Script[], error: unknown): Found {
    const hex = scripts.flatMap(({ hello, messages, closer }) => [
      ...(hello ? ["hello"] : ["connect"]),
      ...messages.map(toHex),
      ...(closer === undefined ? [] : [toHex(closer)]),
    ]);
    const failure = error instanceof Error ? error.message : String(error);
    return { target: "live", decoder: this.#way, hex, failure };
  }
}

function toHex(message: Message): string {
  return typeof message === "string" ? `text ${message}` : message.toHex();
}
