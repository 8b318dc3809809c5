/**
 * What a client shows the server to be let in, and who waits until it has been taken.
 * This module is browser compatible.
 *
 * @module
 */
import type { HelloFrame } from "../protocol/frames.ts";
import { shown } from "../protocol/shown.ts";
import { Deferred } from "./deferred.ts";

/** A token, or what gives one. */
export type TokenSource = string | (() => string | Promise<string>);

/** See the module's documentation. */
export class Credentials {
  #source: TokenSource | undefined;
  /** Of those, the server has not been sent the token yet. */
  #waiting: Deferred<void>[] = [];
  /** Of those it has, or is about to be. */
  #shown: Deferred<void>[] = [];
  /** What is to be shown on the live connection. */
  #due: string | undefined;
  /** The last token was refused, and the source asked once more. */
  #wasRefused = false;

  constructor(source: TokenSource | undefined) {
    this.#source = source;
  }

  /** Shows that one from now on. */
  use(source: TokenSource): void {
    this.#source = source;
    this.#due = undefined;
    this.#wasRefused = false;
  }

  /** The server has refused the token: whether the source may have a newer one. */
  mayAskAgain(): boolean {
    const mayAsk = typeof this.#source === "function" && !this.#wasRefused;
    this.#wasRefused = mayAsk;
    return mayAsk;
  }

  /** Resolves when the server has taken the token that is to be shown. */
  taken(): Promise<void> {
    const deferred = new Deferred<void>();
    this.#waiting.push(deferred);
    return deferred.promise;
  }

  /** Completes the first hello of a connection; later where the token has to be asked for. */
  complete(hello: () => HelloFrame): HelloFrame | Promise<HelloFrame> {
    const source = this.#source;
    this.#due = undefined;
    this.#shown.push(...this.#waiting.splice(0));
    if (source === undefined) return hello();
    if (typeof source === "string") return { ...hello(), token: source };
    return ask(source).then((token) => ({ ...hello(), token }));
  }

  /** Asks for what is to be shown on the live connection; `due` is called when it is there. */
  prepare(due: () => void): void {
    const source = this.#source;
    const waiting = this.#waiting;
    if (source === undefined || waiting.length === 0) return;
    const ready = (token: string) => {
      // Another one is to be shown by now.
      if (this.#source !== source) return;
      this.#due = token;
      due();
    };
    if (typeof source === "string") return ready(source);
    const asked = [...waiting];
    ask(source).then(ready, (error) => {
      for (const deferred of asked) deferred.reject(error);
      this.#waiting = this.#waiting.filter((one) => !asked.includes(one));
    });
  }

  /** Whether there is something to be shown on the live connection. */
  get isDue(): boolean {
    return this.#due !== undefined;
  }

  /** Completes a hello on the live connection. */
  refresh(hello: HelloFrame): HelloFrame {
    const token = this.#due;
    this.#due = undefined;
    this.#shown.push(...this.#waiting.splice(0));
    return token === undefined ? hello : { ...hello, token };
  }

  /** The server has answered a hello. */
  welcomed(): void {
    this.#wasRefused = false;
    for (const deferred of this.#shown.splice(0)) deferred.resolve();
  }

  /** There will be no answer. */
  closed(error: Error): void {
    this.#due = undefined;
    const all = [...this.#shown.splice(0), ...this.#waiting.splice(0)];
    for (const deferred of all) deferred.rejectQuietly(error);
  }
}

/** In a function of its own, so that what a source throws at once rejects. */
async function ask(source: () => string | Promise<string>): Promise<string> {
  const token: unknown = await source();
  if (typeof token === "string") return token;
  throw new TypeError(
    `Cannot connect: the token function gave ${shown(token)}, not a string`,
  );
}
