/**
 * A server under fuzz, and a connection to it, whichever way they are reached.
 *
 * @module
 */
import { decodeDown } from "../../protocol/codec.ts";
import type { DownFrame } from "../../protocol/frames.ts";
import type { PlantArguments, ServerReport } from "./live_protocol.ts";

/** What is sent: bytes, or a text. */
export type Message = Uint8Array | string;

/** The hostile end of a connection. */
export interface Peer {
  /** How it ended: the close code, or 1006 where none came. */
  readonly ended: Promise<number>;
  /** Gets each frame. */
  onFrame: (frame: DownFrame) => void;
  /** The code by which a message ends it that is over the limit. */
  readonly tooBigCode: number;
  /** The first thing that the server did and must not have. */
  readonly fault: string | undefined;
  /** Sends messages. */
  send(messages: readonly Message[]): Promise<void>;
  /** Ends it without a word, as a lost peer does. */
  close(): void;
}

/** A server, with an honest client that looks after it. */
export interface FuzzHost extends AsyncDisposable {
  /** Connects a hostile client. */
  open(): Promise<Peer>;
  /**
   * One write of the honest client, and a look at what the server says.
   *
   * @throws {FuzzFailure} If anything is wrong.
   */
  check(): Promise<void>;
  /** What the server has measured. */
  report(): Promise<ServerReport>;
  /** Puts hostile bytes into the server's KV. */
  plant(what: PlantArguments): Promise<void>;
}

/** Reads what a server sends: messages of frames, some of them in parts. */
export class DownReader {
  readonly #onFrame: (frame: DownFrame) => void;
  #parts: Uint8Array[] = [];
  /** Bytes that are still to come of what comes in parts. */
  #partsLeft = 0;

  /** Hands over each frame but those that announce parts. */
  constructor(onFrame: (frame: DownFrame) => void) {
    this.#onFrame = onFrame;
  }

  /** Takes one message; returns what is wrong with it, if anything. */
  take(message: Uint8Array): string | undefined {
    if (this.#partsLeft === 0) return this.#read(message);
    this.#parts.push(message.slice());
    this.#partsLeft -= message.length;
    if (this.#partsLeft > 0) return undefined;
    return this.#read(concat(this.#parts.splice(0)));
  }

  #read(message: Uint8Array): string | undefined {
    try {
      for (const frame of decodeDown(message)) {
        if (frame.type === "parts") this.#partsLeft = frame.bytes;
        else this.#onFrame(frame);
      }
      return undefined;
    } catch (error) {
      return `the server sent what cannot be read: ${error}`;
    }
  }
}

/** Bytes one after the other. */
export function concat(
  parts: readonly Uint8Array[],
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(
    parts.reduce((length, part) => length + part.length, 0),
  );
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
