/**
 * Where a scenario of React plays: in Chromium, or in jsdom. A scenario throws what is
 * wrong.
 *
 * @module
 */
import { Component, type ReactNode, StrictMode } from "react";
import { createRoot, hydrateRoot, type Root } from "react-dom/client";
import { type Client, createClient } from "../../../client/mod.ts";
// What is written shows at once when this is there, and a scenario is about that.
import "../../../client/writing/mod.ts";
import type { app } from "./app.ts";

type App = typeof app;

/** How long a scenario waits for what must come; the machine may be busy. */
const PATIENCE_MS = 20_000;

/** One part of the page, with a connection of its own to the server. */
export class Stage {
  /** Where the server is. */
  readonly url: string;
  /** Somebody else. */
  readonly other: Client<App>;
  /** Where React renders. */
  readonly container: HTMLElement;
  /** What React, or who renders, has complained about. */
  readonly faults: string[] = [];
  readonly #complain: typeof console.error;
  readonly #renders = new Map<string, number>();
  #root: Root | undefined;

  constructor(url: string) {
    this.url = url;
    this.other = createClient<App>(url);
    this.container = document.createElement("main");
    document.body.append(this.container);
    this.#complain = console.error;
    // React tells of mismatches, updates at the wrong time and the like here alone.
    console.error = (...parts: unknown[]) => {
      this.faults.push(parts.map(String).join(" "));
    };
  }

  /** Renders as React does in development, twice and with its effects twice. */
  render(node: ReactNode, { isStrict = true }: { isStrict?: boolean } = {}) {
    this.#root ??= createRoot(this.container, this.#rootOptions());
    this.#root.render(isStrict ? <StrictMode>{node}</StrictMode> : node);
  }

  /** Takes over what a server has rendered, and stands in the page. */
  hydrate(node: ReactNode): void {
    this.#root = hydrateRoot(this.container, node, this.#rootOptions());
  }

  /** Takes everything off. */
  unmount(): void {
    this.#root?.unmount();
    this.#root = undefined;
  }

  /** Counts a render of a component. */
  rendered(name: string): void {
    this.#renders.set(name, this.renders(name) + 1);
  }

  /** How often a component was rendered. */
  renders(name: string): number {
    return this.#renders.get(name) ?? 0;
  }

  /** What stands in the page. */
  get text(): string {
    return this.container.textContent ?? "";
  }

  /** Waits until the page says just that. */
  shows(text: string): Promise<void> {
    return this.until(
      () => this.text === text,
      () => `found "${this.text}" for "${text}"`,
    );
  }

  /** Waits until something is true. */
  async until(
    predicate: () => boolean | Promise<boolean>,
    describe: () => string = () => predicate.toString(),
  ): Promise<void> {
    const deadline = performance.now() + PATIENCE_MS;
    while (!await predicate()) {
      if (performance.now() > deadline) {
        throw new Error(`Not true in time: ${describe()}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** Waits until the server counts what is meant; `open` and `opened` are without this stage. */
  async counts(
    wanted: {
      Counter?: number;
      room?: number;
      open?: number;
      opened?: number;
    },
  ): Promise<void> {
    let found = "";
    await this.until(async () => {
      const { Counter, rooms, open, opened } = await this.other.call("counts");
      const counts = {
        Counter,
        room: Object.values(rooms).reduce((a, b) => a + b, 0),
        open: open - 1,
        opened: opened - 1,
      };
      found = JSON.stringify(counts);
      return Object.entries(wanted).every(([name, count]) =>
        counts[name as keyof typeof counts] === count
      );
    }, () => `${JSON.stringify(wanted)}, found ${found}`);
  }

  /** The element of the page that a selector finds. */
  find<E extends HTMLElement>(selector: string): E {
    const element = this.container.querySelector<E>(selector);
    if (!element) throw new Error(`There is no ${selector}: ${this.text}`);
    return element;
  }

  /** Types into an input as a person does: each key replaces what is selected, or goes behind it. */
  type(selector: string, text: string): void {
    const input = this.find<HTMLInputElement>(selector);
    const set = Object.getOwnPropertyDescriptor(
      Object.getPrototypeOf(input),
      "value",
    )?.set;
    for (const letter of text) {
      const { selectionStart, selectionEnd, value } = input;
      const [from, to] = [selectionStart ?? 0, selectionEnd ?? 0];
      // Past React, which watches the property, as a browser does.
      set?.call(input, value.slice(0, from) + letter + value.slice(to));
      input.setSelectionRange(from + 1, from + 1);
      // The page's own, which in jsdom is not the global one.
      const { Event } = document.defaultView!; // it is shown
      input.dispatchEvent(new Event("input", { bubbles: true }));
    }
  }

  /** Ends it. */
  end(): void {
    this.unmount();
    this.container.remove();
    this.other.destroy();
    console.error = this.#complain;
  }

  #rootOptions() {
    const fault = (error: unknown) => void this.faults.push(String(error));
    return {
      onRecoverableError: fault,
      onUncaughtError: fault,
      // An error boundary has shown it.
      onCaughtError: () => {},
    };
  }
}

/** Keeps timers of one length from running until they are told to: time is not waited for. */
export class HeldTimers implements Disposable {
  readonly #setTimeout = globalThis.setTimeout;
  readonly #clearTimeout = globalThis.clearTimeout;
  readonly #held = new Map<unknown, () => void>();

  constructor(heldMs: number) {
    const set = (run: () => void, ms = 0): unknown => {
      if (ms !== heldMs) return this.#setTimeout.call(globalThis, run, ms);
      const id = this.#setTimeout.call(globalThis, () => {}, 0);
      this.#held.set(id, run);
      return id;
    };
    const clear = (id?: number) => {
      this.#held.delete(id);
      this.#clearTimeout.call(globalThis, id);
    };
    Object.assign(globalThis, { setTimeout: set, clearTimeout: clear });
  }

  /** How many wait. */
  get size(): number {
    return this.#held.size;
  }

  /** Runs those that wait. */
  run(): void {
    const due = [...this.#held.values()];
    this.#held.clear();
    for (const run of due) run();
  }

  [Symbol.dispose](): void {
    Object.assign(globalThis, {
      setTimeout: this.#setTimeout,
      clearTimeout: this.#clearTimeout,
    });
  }
}

/** Shows the message of what is thrown below it, and a button to try again. */
export class Boundary extends Component<
  { readonly children: ReactNode },
  { readonly error: Error | undefined }
> {
  override readonly state: { error: Error | undefined } = { error: undefined };

  static getDerivedStateFromError(error: Error) {
    return { error };
  }

  override render(): ReactNode {
    const { error } = this.state;
    if (!error) return this.props.children;
    return (
      <button
        type="button"
        onClick={() => this.setState({ error: undefined })}
      >
        {error.message}
      </button>
    );
  }
}

/** Throws unless both are the same as JSON. */
export function equal(actual: unknown, wanted: unknown): void {
  const [found, meant] = [JSON.stringify(actual), JSON.stringify(wanted)];
  if (found !== meant) throw new Error(`Found ${found}, wanted ${meant}`);
}

/** A scenario, and what it is about. */
export type Scenario<Given extends unknown[] = []> = (
  stage: Stage,
  ...given: Given
) => Promise<void>;

/** Plays one. */
export async function play<Given extends unknown[]>(
  scenario: Scenario<Given>,
  url: string,
  ...given: Given
): Promise<void> {
  const stage = new Stage(url);
  try {
    await scenario(stage, ...given);
  } finally {
    stage.end();
  }
  equal(stage.faults, []);
}
