/**
 * Keeps a connection to a server: dials, waits, wakes, gives up. This module is
 * browser compatible.
 *
 * @module
 */
import { HeadwaterError } from "../protocol/errors.ts";
import {
  CLOSE,
  type DownFrame,
  type HelloFrame,
  type WelcomeFrame,
} from "../protocol/frames.ts";
import type { ClientEvents, ClientStatus } from "./api.ts";
import {
  type BackoffOptions,
  type CloseCause,
  finalError,
  retryDelayMs,
} from "./backoff.ts";
import { Connection } from "./connection.ts";
import { ConnectionMachine, toStatus } from "./connection_state.ts";
import type { Environment } from "./environment.ts";

/** What a {@linkcode Reconnector} asks of its owner, and tells it. */
export interface ReconnectorOwner {
  /** Refused: whether another token may be shown at once. */
  mayAskAgain(): boolean;
  /** The first frame of a connection; a promise where it takes time to make. */
  hello(): HelloFrame | Promise<HelloFrame>;
  /** A hello is answered; `isNew` for the first one of a connection. */
  welcomed(frame: WelcomeFrame, isNew: boolean): void;
  /** The frames of one message. */
  message(frames: readonly DownFrame[]): void;
  /** A connection that was welcomed is gone. */
  disconnected(cause: CloseCause): void;
  /** The next attempt will come. */
  reconnecting(next: ClientEvents["reconnecting"]): void;
  /** No further attempts. */
  closed(error: Error): void;
  /** Something failed. */
  fail(error: Error): void;
}

/** What a {@linkcode Reconnector} works with. */
export interface ReconnectorOptions {
  /** Where it runs. */
  readonly environment: Environment;
  /** How long to wait. */
  readonly backoff: BackoffOptions;
  /** False: a loss is the end. */
  readonly isOn: boolean;
}

/** At most one connection at a time, and the next one after it. */
export class Reconnector {
  readonly #options: ReconnectorOptions;
  readonly #owner: ReconnectorOwner;
  readonly #machine = new ConnectionMachine();
  #url = "";
  #isRefused = false;
  #stopWaking: (() => void) | undefined;

  constructor(options: ReconnectorOptions, owner: ReconnectorOwner) {
    this.#options = options;
    this.#owner = owner;
  }

  /** Where it stands, for people. */
  get status(): ClientStatus {
    return toStatus(this.#machine.state);
  }

  /** The connection, while the server has welcomed it. */
  get connection(): Connection | undefined {
    return this.#machine.openConnection;
  }

  /** Why it does not try, if so. */
  get closedBy(): Error | undefined {
    const { state } = this.#machine;
    return state.name === "closed" ? state.error : undefined;
  }

  /** True once it can never connect again. */
  get isDestroyed(): boolean {
    const { state } = this.#machine;
    return state.name === "closed" && state.isDestroyed;
  }

  /** Where it connects to; undefined before the first `connect()`. */
  get url(): string | undefined {
    return this.#url || undefined;
  }

  /** Whether it does not try since the server has refused the user. */
  get isRefused(): boolean {
    return this.#isRefused && this.closedBy !== undefined && !this.isDestroyed;
  }

  /** Begins; see `Client.connect()`. */
  connect(url: string | URL): void {
    const target = toSocketUrl(url);
    const { environment: { WebSocket, onWake } } = this.#options;
    if (this.isDestroyed) {
      throw new HeadwaterError(
        "closed",
        "Cannot connect: the client was destroyed",
      );
    }
    if (this.status !== "idle" && this.status !== "closed") {
      if (target === this.#url) return;
      throw new TypeError(
        `Cannot connect to ${target}: the client is connected to ${this.#url}`,
      );
    }
    if (WebSocket === undefined) {
      throw new TypeError(
        'Cannot connect: there is no WebSocket here, so give one as the option "WebSocket"',
      );
    }
    this.#url = target;
    this.#stopWaking = onWake(() => this.#wake());
    this.#dial();
  }

  /** Begins anew with another connection; false where a loss would be the end. */
  redial(): boolean {
    const { connection } = this.#machine;
    if (!connection) return true;
    if (!this.#options.isOn) return false;
    connection.close();
    this.#ended({ code: 1000, reason: "another session" }, undefined);
    this.#wake();
    return true;
  }

  /** Ends it for good. */
  destroy(): void {
    const cause = { code: 1000, reason: "the client was destroyed" };
    this.#close(cause, disconnected(), true);
  }

  #dial(): void {
    const { WebSocket, clock } = this.#options.environment;
    if (WebSocket === undefined) return; // connect() has refused
    const connection = new Connection({ url: this.#url, WebSocket, clock }, {
      opened: () => {
        if (this.#machine.welcoming()) this.#sayHello(connection);
      },
      welcomed: (frame) => {
        const isNew = this.#machine.open(clock.monotonic());
        this.#owner.welcomed(frame, isNew);
      },
      message: (frames) => this.#owner.message(frames),
      ended: (cause, error) => this.#ended(cause, error),
    });
    if (this.#machine.connecting(connection)) connection.open();
  }

  #sayHello(connection: Connection): void {
    const hello = this.#owner.hello();
    if (!(hello instanceof Promise)) return connection.sayHello(hello);
    hello.then(
      (frame) => connection.sayHello(frame),
      (error) => connection.abandon(error),
    );
  }

  #ended(cause: CloseCause, error: unknown): void {
    if (error instanceof Error) this.#owner.fail(error);
    this.#isRefused = cause.code === CLOSE.refused;
    const isAskedAgain = this.#isRefused && this.#options.isOn &&
      this.#owner.mayAskAgain();
    const final = isAskedAgain ? undefined : finalError(cause);
    if (final !== undefined) {
      this.#close(cause, final, false);
      return this.#owner.fail(final);
    }
    if (!this.#options.isOn) return this.#close(cause, disconnected(), false);
    const { backoff, environment: { clock } } = this.#options;
    const wasOpen = this.connection !== undefined;
    const attempt = this.#machine.nextAttempt(clock.monotonic());
    // At once, but not again and again where each is welcomed, and refused then.
    const delayMs = isAskedAgain && attempt === 1
      ? 0
      : retryDelayMs(attempt, cause.code, backoff);
    const retry = clock.setTimer(delayMs, () => this.#dial());
    // Refused if a listener of the error above has destroyed the client.
    if (!this.#machine.waiting(attempt, retry)) return retry.cancel();
    if (wasOpen) this.#owner.disconnected(cause);
    const { code } = cause;
    const reason = error instanceof Error ? error.message : cause.reason;
    this.#owner.reconnecting({ attempt, delayMs, cause: { code, reason } });
  }

  #close(cause: CloseCause, error: Error, isDestroyed: boolean): void {
    const { connection } = this.#machine;
    const wasOpen = this.connection !== undefined;
    if (!this.#machine.closed(error, isDestroyed)) return;
    connection?.close();
    this.#stopWaking?.();
    if (wasOpen) this.#owner.disconnected(cause);
    this.#owner.closed(error);
  }

  #wake(): void {
    if (this.#machine.state.name === "waiting") this.#dial();
    else this.connection?.probe();
  }
}

/** What pending work is rejected with when there will be no connection. */
export function disconnected(cause?: Error): HeadwaterError {
  return new HeadwaterError("disconnected", "Disconnected", {
    outcome: "notSent",
    ...(cause && { cause }),
  });
}

function toSocketUrl(url: string | URL): string {
  if (!URL.canParse(String(url))) {
    throw new TypeError(`Cannot connect: "${url}" is no URL`);
  }
  const target = new URL(url);
  if (target.protocol === "http:") target.protocol = "ws:";
  if (target.protocol === "https:") target.protocol = "wss:";
  if (target.protocol !== "ws:" && target.protocol !== "wss:") {
    throw new TypeError(
      `Cannot connect to "${url}": it must begin with ws, wss, http or https`,
    );
  }
  target.hash = ""; // older browsers refuse it
  return target.href;
}
