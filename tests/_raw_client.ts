/**
 * A WebSocket peer that can be scripted frame by frame.
 *
 * @module
 */
import { decodeDown, encodeFrame, joinFrames } from "../protocol/codec.ts";
import {
  type DownFrame,
  type HelloFrame,
  PROTOCOL_VERSION,
  SUBPROTOCOL,
  type UpFrame,
  type WelcomeFrame,
} from "../protocol/frames.ts";
import { DEADLINE_MS, within } from "./_waiting.ts";

/** A frame of one type. */
export type DownFrameOf<T extends DownFrame["type"]> = Extract<
  DownFrame,
  { type: T }
>;

/** Settings of {@linkcode RawClient.connect}. */
export interface RawClientOptions {
  /** Subprotocols to offer. */
  protocols?: string[];
  /** Headers of the upgrade request, such as `origin`. */
  headers?: Record<string, string>;
}

/** One message as it came in: its size, and the frames in it. */
export interface RawMessage {
  readonly bytes: number;
  readonly frames: DownFrame[];
}

/** A peer that sends exactly what the test says and keeps all that comes. */
export class RawClient implements AsyncDisposable {
  /** Every message received, in order. */
  readonly messages: RawMessage[] = [];
  /** Every frame received, in order. */
  readonly frames: DownFrame[] = [];
  /** How the connection ended; 1006 or 0 where it did so without a close frame. */
  readonly closed: Promise<{ code: number; reason: string }>;
  readonly #socket: WebSocket;
  #end: { code: number; reason: string } | undefined;
  #fault: unknown;
  #cursor = 0;
  #wake = Promise.withResolvers<void>();

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => this.#receive(data);
    this.closed = new Promise((resolve) => {
      socket.onclose = ({ code, reason }) => {
        this.#end = { code, reason };
        this.#ring();
        resolve(this.#end);
      };
    });
  }

  /** Connects to a `ws:` URL, or to that port of 127.0.0.1. */
  static async connect(
    to: string | number,
    options: RawClientOptions = {},
  ): Promise<RawClient> {
    const { protocols = [SUBPROTOCOL], headers = {} } = options;
    const url = typeof to === "number" ? `ws://127.0.0.1:${to}` : to;
    // Deno takes options here, which the declaration of browsers does not know.
    const socket = new WebSocket(
      url,
      { protocols, headers } as unknown as string[],
    );
    const client = new RawClient(socket);
    const opened = Promise.withResolvers<void>();
    socket.onopen = () => opened.resolve();
    socket.onerror = (event) => {
      const reason = event instanceof ErrorEvent ? event.message : "";
      opened.reject(new Error(`Cannot connect to ${url}: ${reason}`));
    };
    await within(opened.promise, { describe: () => `open ${url}` });
    return client;
  }

  /** Bytes of all messages received. */
  get bytes(): number {
    return this.messages.reduce((sum, message) => sum + message.bytes, 0);
  }

  /** The subprotocol that the server chose. */
  get protocol(): string {
    return this.#socket.protocol;
  }

  /** Sends frames in one message, or whatever else as it is. */
  send(...what: UpFrame[] | [Uint8Array<ArrayBuffer> | string]): void {
    const [first] = what;
    if (typeof first === "string" || first instanceof Uint8Array) {
      return this.#socket.send(first);
    }
    // Neither text nor bytes: frames, all of them.
    this.#socket.send(
      joinFrames((what as UpFrame[]).map((frame) => encodeFrame(frame))),
    );
  }

  /** Says hello and returns the welcome. */
  async hello(
    fields: Partial<Omit<HelloFrame, "type">> = {},
  ): Promise<WelcomeFrame> {
    this.send({ type: "hello", protocol: PROTOCOL_VERSION, ...fields });
    return await this.next("welcome");
  }

  /** The next frame of that type; those before it are passed over (they stay in `frames`). */
  async next<T extends DownFrame["type"]>(
    type: T,
    options: { ms?: number } = {},
  ): Promise<DownFrameOf<T>> {
    for (;;) {
      const frame = await this.nextFrame({
        ...options,
        expected: `a frame "${type}"`,
      });
      // The type was compared; narrowing does not reach a generic parameter.
      if (frame.type === type) return frame as DownFrameOf<T>;
    }
  }

  /** The next frame, whatever it is. */
  async nextFrame(
    options: { ms?: number; expected?: string } = {},
  ): Promise<DownFrame> {
    const { ms = DEADLINE_MS, expected = "a frame" } = options;
    for (;;) {
      const frame = this.frames[this.#cursor];
      if (frame !== undefined) {
        this.#cursor += 1;
        return frame;
      }
      if (this.#fault !== undefined) throw this.#fault;
      if (this.#end) {
        throw new Error(`Closed before ${expected} came: ${this.#history()}`);
      }
      await within(this.#wake.promise, {
        ms,
        describe: () => `${expected}: ${this.#history()}`,
      });
    }
  }

  /** Begins to close, as a well-behaved client does. */
  close(code = 1000, reason = ""): void {
    this.#socket.close(code, reason);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.close();
    await within(this.closed, { describe: () => `close: ${this.#history()}` });
  }

  #receive(data: string | ArrayBuffer): void {
    try {
      if (typeof data === "string") {
        throw new TypeError(`The server sent text: ${data}`);
      }
      const frames = decodeDown(new Uint8Array(data));
      this.messages.push({ bytes: data.byteLength, frames });
      this.frames.push(...frames);
    } catch (error) {
      this.#fault = error;
    }
    this.#ring();
  }

  #ring(): void {
    const { resolve } = this.#wake;
    this.#wake = Promise.withResolvers();
    resolve();
  }

  #history(): string {
    const seen = this.frames.map((frame) =>
      JSON.stringify(frame).slice(0, 200)
    );
    const end = this.#end
      ? `; closed with ${this.#end.code} "${this.#end.reason}"`
      : "";
    return `${seen.length} frames seen${end}\n${seen.slice(-20).join("\n")}`;
  }
}
