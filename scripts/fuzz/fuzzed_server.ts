/**
 * The server under fuzz, with one honest client that writes and reads all the
 * while and says so when anything is not as it must be.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import type { Client } from "../../client/mod.ts";
import type { Json } from "../../protocol/value.ts";
import { connectClient } from "../../tests/_app.ts";
import { type FreshProcess, freshProcess } from "../../tests/_fresh_process.ts";
import { within } from "../../tests/_waiting.ts";
import { FuzzFailure } from "./contract.ts";
import type {
  HonestState,
  PlantArguments,
  ServerReport,
} from "./live_protocol.ts";

const SCRIPT = fileURLToPath(import.meta.resolve("./live_server.ts"));
/** How long the server may take to answer the honest client, under load. */
const HONEST_MS = 20_000;

/** See the module's documentation. */
export class FuzzedServer implements AsyncDisposable {
  readonly port: number;
  readonly #process: FreshProcess;
  readonly #client: Client;
  readonly #honest;
  #isOver = false;
  #writes = 0;
  #sum = 0;

  private constructor(process: FreshProcess, port: number) {
    this.port = port;
    this.#process = process;
    this.#client = connectClient(port, { rpcTimeoutMs: HONEST_MS });
    this.#honest = this.#client.subscribe<HonestState>("Honest");
    void process.exited.then(() => this.#isOver = true);
  }

  /** Starts a server, and waits for the honest client to see the first state. */
  static async start(): Promise<FuzzedServer> {
    const process = freshProcess([SCRIPT]);
    const [, port] = await process.line(/^listening (\d+)$/);
    const server = new FuzzedServer(process, Number(port));
    await server.#honest.ready();
    return server;
  }

  /** Writes of the honest client. */
  get writes(): number {
    return this.#writes;
  }

  /**
   * One write of the honest client, and a look at what it and the process say.
   *
   * @throws {FuzzFailure} If anything is wrong.
   */
  async check(): Promise<void> {
    this.checkProcess();
    const n = ++this.#writes;
    this.#sum += n;
    let value: unknown;
    try {
      value = await this.#client.call("honest.write", { n });
    } catch (error) {
      this.checkProcess();
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

  /** @throws {FuzzFailure} If the process has ended or written an error. */
  checkProcess(): void {
    const output = this.#process.output.trim();
    if (this.#isOver) {
      throw new FuzzFailure(`the server has ended:\n${output.slice(-2_000)}`);
    }
    if (output !== `listening ${this.port}`) {
      throw new FuzzFailure(`the server wrote:\n${output.slice(0, 2_000)}`);
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

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client.destroy();
    await this.#process.kill();
    await within(this.#process[Symbol.asyncDispose](), {
      describe: () => "end of the server",
    });
  }
}
