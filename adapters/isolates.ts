/**
 * The isolates of one process: `deno serve --parallel` runs one on each core, a
 * signal reaches all of them, and the first that exits takes the others with it.
 *
 * @module
 */
import { BroadcastChannel } from "node:worker_threads";

/** What isolates tell each other. */
interface Notice {
  readonly id: string;
  /** `"new"` is answered by a `"here"` of everybody. */
  readonly says: "new" | "here" | "closed";
}

/** This isolate, and the others that it knows of. */
export class Isolates {
  readonly #id = crypto.randomUUID();
  // Node's: the global one cannot be unref'd, and would keep a process that nobody asked to end.
  readonly #channel = new BroadcastChannel(`headwater ${Deno.pid}`);
  readonly #others = new Set<string>();
  #allClosed: (() => void) | undefined;

  /** Makes this isolate known to the others of the process. */
  constructor() {
    this.#channel.onmessage = (event: unknown) => {
      const { data } = event as MessageEvent<Notice>; // Node's type does not say what it is
      this.#take(data);
    };
    this.#channel.unref();
    this.#tell("new");
  }

  /** Tells the others that this one is closed, and resolves when all of them are. */
  async leave(): Promise<void> {
    this.#tell("closed");
    if (this.#others.size > 0) {
      await new Promise<void>((resolve) => this.#allClosed = resolve);
    }
    this.#channel.close();
  }

  #tell(says: Notice["says"]): void {
    this.#channel.postMessage({ id: this.#id, says } satisfies Notice);
  }

  #take({ id, says }: Notice): void {
    if (says === "closed") {
      this.#others.delete(id);
      if (this.#others.size === 0) this.#allClosed?.();
      return;
    }
    this.#others.add(id);
    if (says === "new") this.#tell("here");
  }
}
