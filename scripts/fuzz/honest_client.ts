/**
 * One honest client of a server under fuzz, that writes and reads all the while
 * and says so when anything is not as it must be.
 *
 * @module
 */
import type { Client } from "../../client/mod.ts";
import type { Json } from "../../protocol/value.ts";
import { connectClient } from "../../tests/_app.ts";
import { FuzzFailure } from "./contract.ts";
import type {
  HonestState,
  PlantArguments,
  ServerReport,
} from "./live_protocol.ts";

/** How long the server may take to answer, under load. */
const HONEST_MS = 20_000;

/** See the module's documentation. */
export class HonestClient {
  readonly #client: Client;
  readonly #honest;
  #writes = 0;
  #sum = 0;

  private constructor(port: number) {
    this.#client = connectClient(port, { rpcTimeoutMs: HONEST_MS });
    this.#honest = this.#client.subscribe<HonestState>("Honest");
  }

  /** Connects, and waits for the first state. */
  static async connect(port: number): Promise<HonestClient> {
    const client = new HonestClient(port);
    await client.#honest.ready();
    return client;
  }

  /** How often it has written. */
  get writes(): number {
    return this.#writes;
  }

  /**
   * Writes once, and looks at what it then sees.
   *
   * @throws {FuzzFailure} If anything is wrong.
   */
  async write(): Promise<void> {
    const n = ++this.#writes;
    this.#sum += n;
    let value: unknown;
    try {
      value = await this.#client.call("honest.write", { n });
    } catch (error) {
      throw new FuzzFailure(`the honest client's call ${n} failed: ${error}`);
    }
    const state = this.#honest.getState();
    const recent = Array.from({ length: Math.min(n, 10) }, (_, i) => n - i);
    const expected = { n, sum: this.#sum, recent };
    if (value !== n || JSON.stringify(state) !== JSON.stringify(expected)) {
      throw new FuzzFailure(
        `the honest client sees ${JSON.stringify({ value, state })} ` +
          `in place of ${JSON.stringify(expected)}`,
      );
    }
  }

  /** What the server has measured. */
  async report(): Promise<ServerReport> {
    // The function returns just this.
    return await this.#client.call("fuzz.report") as unknown as ServerReport;
  }

  /** Puts hostile bytes into the server's KV. */
  async plant(what: PlantArguments): Promise<void> {
    await this.#client.call("fuzz.plant", { ...what } as unknown as Json);
  }

  /** Ends it. */
  destroy(): void {
    this.#client.destroy();
  }
}
