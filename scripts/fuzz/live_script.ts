/**
 * What one hostile client does on one connection, what the server must make of
 * it by the protocol, and whether it did.
 *
 * @module
 */
import { decodeUp, encodeFrame } from "../../protocol/codec.ts";
import { HeadwaterError } from "../../protocol/errors.ts";
import {
  CLOSE,
  type DownFrame,
  PROTOCOL_VERSION,
  type RefusedFrame,
  type ResumeToken,
  type UpFrame,
} from "../../protocol/frames.ts";
import { DEFAULT_LIMITS } from "../../protocol/limits.ts";
import { within } from "../../tests/_waiting.ts";
import { ERROR_CODES, FuzzFailure } from "./contract.ts";
import { rowOfFrame } from "./frame_decoders.ts";
import type { Message, Peer } from "./peer.ts";
import { countRefused, type Row, rowOf, type Tally } from "./tally.ts";

/** Messages for one connection. */
export interface Script {
  /** Whether a proper hello comes first. */
  readonly hello: boolean;
  /** Messages after which the connection goes on. */
  readonly messages: readonly Message[];
  /** A message that ends it, last. */
  readonly closer?: Message | undefined;
}

/** What becomes of a message by the protocol: its frames, or the end. */
export type Fate =
  | {
    readonly code?: undefined;
    readonly frames: readonly (UpFrame | RefusedFrame)[];
  }
  | {
    readonly code: number;
    /** Frames of the message that are handled before the one that ends it. */
    readonly before: readonly (UpFrame | RefusedFrame)[];
  };

/** How long everything that must come may take. */
const ANSWER_MS = 15_000;

const HELLO = encodeFrame({ type: "hello", protocol: PROTOCOL_VERSION });

/** Foretells what the server makes of a message, on a connection that was welcomed or not. */
export function fateOf(message: Message, isWelcomed: boolean): Fate {
  if (typeof message === "string") return ended(CLOSE.badFrame);
  if (message.length > DEFAULT_LIMITS.messageBytes) {
    return ended(CLOSE.tooBig);
  }
  let frames;
  try {
    frames = decodeUp(message, DEFAULT_LIMITS);
  } catch (error) {
    if (error instanceof HeadwaterError) return ended(CLOSE.badFrame);
    throw error;
  }
  let hasSession = isWelcomed;
  for (const [at, frame] of frames.entries()) {
    const before = frames.slice(0, at);
    if (frame.type !== "hello") {
      if (!hasSession) return ended(CLOSE.badFrame, before);
    } else if (frame.protocol !== PROTOCOL_VERSION) {
      return ended(CLOSE.badVersion, before);
    } else hasSession = true;
  }
  return { frames };
}

function ended(
  code: number,
  before: readonly (UpFrame | RefusedFrame)[] = [],
): Fate {
  return { code, before };
}

/** What is learned from the server's answers. */
export interface Learned {
  token(name: string, token: ResumeToken): void;
  session(token: string): void;
}

/**
 * Runs a script on a connection of its own.
 *
 * @throws {FuzzFailure} If the server did anything but what the protocol says.
 */
export async function runScript(
  open: () => Promise<Peer>,
  script: Script,
  { tally, learned }: { tally: Tally; learned: Learned },
): Promise<void> {
  const socket = await open();
  try {
    const answers = new Answers(tally, learned, script.hello);
    socket.onFrame = (frame) => answers.take(frame);
    const messages = script.hello
      ? [HELLO, ...script.messages]
      : script.messages;
    let isWelcomed = false;
    for (const message of messages) {
      answers.expect(fateOf(message, isWelcomed));
      isWelcomed = true; // else it would have ended the connection
    }
    await socket.send(messages);
    await waitFor(answers.complete, socket, answers);
    if (script.closer !== undefined) {
      const fate = fateOf(script.closer, isWelcomed);
      const code = fate.code === CLOSE.tooBig ? socket.tooBigCode : fate.code;
      // They may be answered before the end, and need not be.
      if (fate.code !== undefined) answers.expect({ frames: fate.before });
      await socket.send([script.closer]);
      const got = await waitFor(socket.ended, socket, answers);
      if (got !== code) {
        throw new FuzzFailure(`closed with ${got} in place of ${code}`);
      }
    }
    if (socket.fault !== undefined) throw new FuzzFailure(socket.fault);
    if (answers.fault !== undefined) throw new FuzzFailure(answers.fault);
  } finally {
    socket.close();
    await socket.ended;
  }
}

async function waitFor<T>(
  promise: Promise<T>,
  socket: Peer,
  answers: Answers,
): Promise<T> {
  let isOver = false;
  const closed = socket.ended.then((code) => {
    if (!isOver && !answers.isComplete) {
      throw new FuzzFailure(`closed with ${code}, missing ${answers.missing}`);
    }
    return promise;
  });
  try {
    return await within(Promise.race([promise, closed]), {
      ms: ANSWER_MS,
      describe: () => answers.missing,
    });
  } catch (error) {
    throw error instanceof FuzzFailure
      ? error
      : new FuzzFailure(`no answer: ${answers.missing}`);
  } finally {
    isOver = true;
    closed.catch(() => {}); // told above, or not wanted any more
  }
}

/** Counts what comes against what must come. */
class Answers {
  /** The first thing that came and must not have. */
  fault: string | undefined;
  readonly #tally: Tally;
  readonly #learned: Learned;
  /** Answers that are due by what they answer: a number of a call, "pong", "welcome". */
  readonly #due = new Map<number | string, number>();
  #dueCount = 0;
  /** Stores that are subscribed, of which something must come. */
  readonly #stores = new Set<string>();
  /** Refusals that are due, and what they refuse. */
  /** Numbers that stand for writes; the others are those of calls. */
  readonly #writes = new Set<number>();
  readonly #refusals = new Map<string, string[]>();
  #done = Promise.withResolvers<void>();
  /** The first welcome answers our own hello, which does not count. */
  #isGreeting: boolean;

  constructor(tally: Tally, learned: Learned, isGreeting: boolean) {
    this.#tally = tally;
    this.#learned = learned;
    this.#isGreeting = isGreeting;
  }

  get isComplete(): boolean {
    return this.#dueCount === 0 && this.#stores.size === 0;
  }

  get missing(): string {
    const due = [...this.#due].map(([what, count]) => `${count} × ${what}`);
    const stores = [...this.#stores].map((name) => JSON.stringify(name));
    return [...due, ...stores].slice(0, 10).map((text) => text.slice(0, 40))
      .join(", ") || "nothing";
  }

  /** Resolves when all has come. */
  get complete(): Promise<void> {
    if (this.isComplete) this.#done.resolve();
    return this.#done.promise;
  }

  /** Notes what a message is to be answered with. */
  expect(fate: Fate): void {
    if (fate.code !== undefined) {
      throw new TypeError("A message that ends the connection must come last");
    }
    for (const frame of fate.frames) this.#expectFrame(frame);
  }

  #expectFrame(frame: UpFrame | RefusedFrame): void {
    switch (frame.type) {
      case "hello":
        return this.#add("welcome");
      case "ping":
        return this.#add("pong");
      case "mut":
        this.#writes.add(frame.id);
        return this.#add(frame.id);
      case "rpc":
        return this.#add(frame.id);
      case "cancel": // has no answer
        rowOf(this.#tally, "cancel").accepted++;
        return;
      case "sub":
        this.#stores.add(frame.name);
        this.#refusals.set(frame.name, [
          ...this.#refusals.get(frame.name) ?? [],
          rowOfFrame(frame),
        ]);
        return;
      case "unsub": // has no answer, and the sub before it may have none any more
        this.#stores.delete(frame.name);
        rowOf(this.#tally, "unsub").accepted++;
        return;
      case "refused":
        if (frame.of === "rpc") return this.#add(frame.id);
        this.#add(`err ${frame.name}`);
        this.#refusals.set(`err ${frame.name}`, [
          ...this.#refusals.get(`err ${frame.name}`) ?? [],
          frame.of,
        ]);
    }
  }

  #add(what: number | string): void {
    this.#due.set(what, (this.#due.get(what) ?? 0) + 1);
    this.#dueCount++;
  }

  #settle(what: number | string): boolean {
    const count = this.#due.get(what) ?? 0;
    if (count === 0) return false;
    if (count === 1) this.#due.delete(what);
    else this.#due.set(what, count - 1);
    this.#dueCount--;
    return true;
  }

  /** Takes a frame of the server. */
  take(frame: DownFrame): void {
    switch (frame.type) {
      case "welcome":
        this.#learned.session(frame.session);
        if (this.#isGreeting) this.#settle("welcome");
        else this.#answered("welcome", rowOf(this.#tally, "hello"));
        this.#isGreeting = false;
        break;
      case "pong":
        this.#answered("pong", rowOf(this.#tally, "ping"));
        break;
      case "res":
        this.#answered(
          frame.id,
          rowOf(this.#tally, this.#writes.has(frame.id) ? "mut" : "rpc"),
          frame.error?.code,
        );
        break;
      case "snap":
      case "resume":
        this.#learned.token(frame.name, {
          epoch: frame.epoch,
          version: frame.version,
          writer: frame.writer,
        });
        this.#subscribed(frame.name);
        break;
      case "err":
        this.#erred(frame.name, frame.error.code);
        break;
      case "del":
        this.#stores.delete(frame.name);
        break;
      case "patch":
        break;
      default:
        this.fault ??= `an unexpected ${frame.type} frame came`;
    }
    if (this.isComplete) this.#done.resolve();
  }

  #answered(what: number | string, row: Row, code?: string): void {
    if (!this.#settle(what)) this.fault ??= `nobody asked for ${what}`;
    if (code === undefined) row.accepted++;
    else this.#refused(row, code);
  }

  #refused(row: Row, code: string): void {
    if (!ERROR_CODES.has(code)) this.fault ??= `the code ${code} is not known`;
    countRefused(row, code);
    row.reached++;
  }

  #subscribed(name: string): void {
    this.#stores.delete(name);
    const row = this.#refusals.get(name)?.shift();
    // More may come than was asked for: a snapshot in the place of patches.
    if (row !== undefined) rowOf(this.#tally, row).accepted++;
  }

  #erred(name: string | undefined, code: string): void {
    if (name === undefined) {
      this.fault ??= `an error without a name came: ${code}`;
      return;
    }
    if (this.#settle(`err ${name}`)) {
      const of = this.#refusals.get(`err ${name}`)?.shift() ?? "sub";
      return this.#refused(rowOf(this.#tally, of), code);
    }
    this.#stores.delete(name);
    const row = this.#refusals.get(name)?.shift() ?? "sub";
    this.#refused(rowOf(this.#tally, row), code);
  }
}
