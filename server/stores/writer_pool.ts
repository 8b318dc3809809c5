/**
 * Writers that take one atomic at a time, for many who want to write.
 *
 * @module
 */
import type { AtomicWriter } from "../log/atomic_writer.ts";

/** See the module's documentation. */
export class WriterPool {
  readonly #free: AtomicWriter[];
  readonly #waiting: ((writer: AtomicWriter) => void)[] = [];

  /** A pool of writers of which none is used otherwise. */
  constructor(writers: readonly AtomicWriter[]) {
    this.#free = [...writers];
  }

  /** Uses a writer, once one is free: in the order in which they are asked for. */
  async use<T>(work: (writer: AtomicWriter) => Promise<T>): Promise<T> {
    const writer = this.#free.pop() ??
      await new Promise<AtomicWriter>((resolve) => this.#waiting.push(resolve));
    try {
      return await work(writer);
    } finally {
      const next = this.#waiting.shift();
      if (next) next(writer);
      else this.#free.push(writer);
    }
  }
}
