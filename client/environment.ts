/**
 * What the client needs from the place where it runs. This is the one file that
 * looks at `globalThis`. This module is browser compatible.
 *
 * @module
 */
import type { LoadWriting } from "./writing_port.ts";

/** The part of a WebSocket that the client uses; a browser's, Deno's and that of `ws` fit. */
export interface WebSocketLike {
  /** Set to `"arraybuffer"`. */
  binaryType: string;
  /** Called when it is open. */
  onopen: ((event: never) => unknown) | null;
  /** Called with each message. */
  onmessage: ((event: never) => unknown) | null;
  /** Called when something fails; a close follows. */
  onerror: ((event: never) => unknown) | null;
  /** Called when it is closed. */
  onclose: ((event: never) => unknown) | null;
  /** Sends one message. */
  send(data: Uint8Array<ArrayBuffer>): void;
  /** Ends it. */
  close(code?: number, reason?: string): void;
}

/** A class of WebSockets. */
export type WebSocketClass = new (
  url: string,
  protocols: string,
) => WebSocketLike;

/** A timer that can be called off. */
export interface ClientTimer {
  /** Calls it off; harmless if it has run. */
  cancel(): void;
}

/** Time, as the client needs it. */
export interface ClientClock {
  /** Milliseconds since 1970; may jump. */
  now(): number;
  /** Milliseconds that only go forward. */
  monotonic(): number;
  /** Calls `run` once after `ms`. */
  setTimer(ms: number, run: () => void): ClientTimer;
}

/** Everything that the client takes from the place where it runs. */
export interface Environment {
  /** The class of its sockets; undefined where the runtime has none and none was given. */
  readonly WebSocket: WebSocketClass | undefined;
  /** Time. */
  readonly clock: ClientClock;
  /** A number from 0 up to but not 1, for jitter. */
  readonly random: () => number;
  /** Calls `wake` when the network or the page comes back; returns its undo. */
  readonly onWake: (wake: () => void) => () => void;
  /** Takes what a listener threw where nobody listens to "error". */
  readonly reportError: (error: unknown) => void;
  /** Loads the part that writes. */
  readonly loadWriting: LoadWriting;
}

/** The globals that {@linkcode hostEnvironment} looks for; each may be absent. */
interface Host {
  readonly WebSocket?: WebSocketClass;
  readonly document?: WakeTarget & { readonly visibilityState: string };
  readonly addEventListener?: WakeTarget["addEventListener"];
  readonly removeEventListener?: WakeTarget["removeEventListener"];
  readonly reportError?: (error: unknown) => void;
}

interface WakeTarget {
  addEventListener(type: string, listener: () => void): void;
  removeEventListener(type: string, listener: () => void): void;
}

/** A timer of more milliseconds than fit into 31 bits fires at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

const CLOCK: ClientClock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimer(ms, run) {
    const id = setTimeout(run, Math.min(ms, LONGEST_TIMER_MS));
    return { cancel: () => clearTimeout(id) };
  },
};

/** What the runtime offers. */
export function hostEnvironment(): Environment {
  const host = globalThis as unknown as Host; // each member is checked before it is used
  return {
    WebSocket: host.WebSocket,
    clock: CLOCK,
    random: Math.random,
    onWake: (wake) => listenForWake(host, wake),
    reportError: (error) => host.reportError?.(error),
    // Written out, so that bundlers put it into a file of its own.
    loadWriting: () => import("./writing/mod.ts"),
  };
}

function listenForWake(host: Host, wake: () => void): () => void {
  const { document } = host;
  const onVisibility = () => {
    if (document?.visibilityState === "visible") wake();
  };
  host.addEventListener?.("online", wake);
  document?.addEventListener("visibilitychange", onVisibility);
  return () => {
    host.removeEventListener?.("online", wake);
    document?.removeEventListener("visibilitychange", onVisibility);
  };
}
