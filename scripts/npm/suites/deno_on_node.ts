/**
 * As much of Deno as the contract suites use, on Node: how tests are registered,
 * and what Node 20 lacks.
 *
 * @module
 */
import { test } from "node:test";
import { WebSocket } from "ws";

/** A test as `Deno.test` takes it. */
interface TestDefinition {
  readonly name: string;
  readonly ignore?: boolean;
  readonly fn: () => void | Promise<void>;
}

function registerTest(
  what: string | TestDefinition,
  run: TestDefinition["fn"] = () => {},
): void {
  const { name, ignore = false, fn } = typeof what === "string"
    ? { name: what, fn: run }
    : what;
  void test(name, { skip: ignore }, async () => await fn());
}

/** Disposes in the reverse order of what it was given. */
class DisposableStack {
  readonly #parts: AsyncDisposable[] = [];

  use<T extends AsyncDisposable>(part: T): T {
    this.#parts.push(part);
    return part;
  }

  async disposeAsync(): Promise<void> {
    for (const part of this.#parts.splice(0).reverse()) {
      await part[Symbol.asyncDispose]();
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.disposeAsync();
  }
}

Object.assign(globalThis, {
  Deno: { test: registerTest },
  WebSocket: globalThis.WebSocket ?? WebSocket,
  AsyncDisposableStack: globalThis.AsyncDisposableStack ?? DisposableStack,
});
