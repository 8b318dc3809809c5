/**
 * A real client that lives through every kill: it goes to whichever server is
 * there, and notes what it is sent.
 *
 * @module
 */
import {
  type Client,
  createClient,
  HeadwaterError,
  type SubscriptionHandle,
} from "../../client/mod.ts";
import { decodeUp } from "../../protocol/codec.ts";
import type { DownFrame } from "../../protocol/frames.ts";
import { DEFAULT_LIMITS } from "../../protocol/limits.ts";
import type { Account } from "./account.ts";
import { AGREED, type Answer } from "./app.ts";
import { FrameReader } from "./frame_reader.ts";

/** A call that has no answer after so long hangs. */
const HUNG_MS = 90_000;

/** What clients were sent, and sent again. */
export interface Traffic {
  /** Subscriptions that went on with exactly what was missed. */
  resumes: number;
  /** Subscriptions that went on with a snapshot. */
  snapshots: number;
  /** Calls that were sent again. */
  resent: number;
}

/** What became of a call. */
export type CallOutcome =
  | { readonly name: "answered"; readonly answer: Answer }
  | { readonly name: "refused" }
  | { readonly name: "absent" | "unknown"; readonly error: unknown };

/** What a {@linkcode TortureClient} needs. */
export interface TortureClientOptions {
  readonly account: Account;
  readonly traffic: Traffic;
  /** The port of a server that listens, if there is one. */
  readonly port: () => number | undefined;
}

/** See the module's documentation. */
export class TortureClient implements Disposable {
  /** The states that it has, by name. */
  readonly handles = new Map<string, SubscriptionHandle<unknown>>();
  readonly #client: Client;
  readonly #account: Account;

  /** Connects, and goes on doing so. */
  constructor(options: TortureClientOptions) {
    this.#account = options.account;
    // The socket finds the server by itself.
    this.#client = createClient("ws://127.0.0.1:1", {
      reconnectDelayMs: 10,
      reconnectMaxMs: 60,
      rpcTimeoutMs: HUNG_MS,
      WebSocket: roamingSocket(options),
      reportError: (error) => this.#account.breach("wrong", String(error)),
    });
    this.#client.on("error", (error) => this.#failed(error));
  }

  /** Subscribes, or gives the handle that there is. */
  subscribe(name: string): SubscriptionHandle<unknown> {
    const known = this.handles.get(name);
    if (known) return known;
    let last: { life: unknown; version: number } | undefined;
    const handle = this.#client.subscribe<{ life?: unknown }>(name, (state) => {
      const version = handle.version ?? 0;
      // Rooms are made anew; each life of theirs counts from the beginning.
      if (last && last.life === state.life && version < last.version) {
        this.#account.breach(
          "wrong",
          `${name} went back from version ${last.version} to ${version}`,
        );
      }
      last = { life: state.life, version };
    });
    this.handles.set(name, handle);
    return handle;
  }

  /** Lets go of a store. */
  unsubscribe(name: string): void {
    this.handles.get(name)?.unsubscribe();
    this.handles.delete(name);
  }

  /** Calls a function until it is known what became of it. */
  async call(name: string, args: object): Promise<CallOutcome> {
    try {
      const answer = await this.#client.call<Answer>(name, args);
      this.#account.answer();
      return { name: "answered", answer };
    } catch (error) {
      if (error instanceof Error && error.message.includes(AGREED)) {
        this.#account.answer();
        return { name: "refused" };
      }
      if (!(error instanceof HeadwaterError)) throw error;
      if (error.code === "timeout") {
        this.#account.breach("wrong", `"${name}" hung for ${HUNG_MS} ms`);
      }
      const isAbsent = error.outcome === "notApplied" ||
        error.outcome === "notSent";
      return { name: isAbsent ? "absent" : "unknown", error };
    }
  }

  [Symbol.dispose](): void {
    this.#client.destroy();
  }

  #failed(error: Error): void {
    const isCorrupt = error instanceof HeadwaterError &&
      ["store_unreadable", "bad_patch", "bad_frame"].includes(error.code);
    if (isCorrupt) this.#account.breach("wrong", error.message);
  }
}

/** A socket class that connects to whichever server is there, and counts. */
function roamingSocket(
  { port, traffic, account }: TortureClientOptions,
): typeof WebSocket {
  const positions = new Map<string, { epoch: string; version: number }>();
  return class RoamingSocket extends WebSocket {
    /** Stores by their number on this connection. */
    readonly #names = new Map<number, string>();
    readonly #seen = new Set<string>();
    readonly #reader = new FrameReader();

    constructor(_: string | URL, protocols?: string | string[]) {
      // Nobody listens on port 1: the client will try again.
      super(`ws://127.0.0.1:${port() ?? 1}`, protocols);
      this.addEventListener("message", ({ data }) => {
        for (const frame of this.#reader.read(new Uint8Array(data))) {
          this.#look(frame);
        }
      });
    }

    override send(data: Parameters<WebSocket["send"]>[0]): void {
      if (data instanceof Uint8Array) {
        for (const frame of decodeUp(data, DEFAULT_LIMITS)) {
          if (frame.type === "rpc" && frame.resent) traffic.resent += 1;
        }
      }
      super.send(data);
    }

    #look(frame: DownFrame): void {
      if (frame.type === "snap" || frame.type === "resume") {
        const { name, epoch, version } = frame;
        const before = positions.get(name);
        // One that was dropped and taken up again on one connection tells nothing.
        if (before && !this.#seen.has(name)) {
          traffic[frame.type === "snap" ? "snapshots" : "resumes"] += 1;
        }
        if (before?.epoch === epoch && version < before.version) {
          account.breach(
            "wrong",
            `${name} was sent at version ${version} after ${before.version}`,
          );
        }
        this.#names.set(frame.store, name);
        this.#seen.add(name);
        positions.set(name, { epoch, version });
      } else if (frame.type === "patch") {
        const name = this.#names.get(frame.store);
        const before = name === undefined ? undefined : positions.get(name);
        if (name && before && frame.version > before.version) {
          positions.set(name, { ...before, version: frame.version });
        }
      } else if (frame.type === "del") {
        positions.delete(frame.name);
      }
    }
  };
}
