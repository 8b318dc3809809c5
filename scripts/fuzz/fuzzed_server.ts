/**
 * The server under fuzz as a process of its own, and the honest client of it.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { CLOSE } from "../../protocol/frames.ts";
import type { Transport } from "../../server/ports.ts";
import { type FreshProcess, freshProcess } from "../../tests/_fresh_process.ts";
import { within } from "../../tests/_waiting.ts";
import { FuzzFailure } from "./contract.ts";
import { FuzzSocket } from "./fuzz_socket.ts";
import { HonestClient } from "./honest_client.ts";
import type { PlantArguments, ServerReport } from "./live_protocol.ts";
import type { FuzzHost, Peer } from "./peer.ts";

/** "Message too big" (RFC 6455, section 7.4.1). */
const WS_TOO_BIG = 1009;

const SCRIPT = fileURLToPath(import.meta.resolve("./live_server.ts"));

/** See the module's documentation. */
export class FuzzedServer implements FuzzHost {
  readonly port: number;
  readonly #transport: Transport;
  readonly #process: FreshProcess;
  readonly #honest: HonestClient;
  #isOver = false;

  private constructor(
    process: FreshProcess,
    { transport, port, honest }: {
      transport: Transport;
      port: number;
      honest: HonestClient;
    },
  ) {
    this.#transport = transport;
    this.port = port;
    this.#process = process;
    this.#honest = honest;
    void process.exited.then(() => this.#isOver = true);
  }

  /** Starts a server, and waits for the honest client to see the first state. */
  static async start(transport: Transport = "native"): Promise<FuzzedServer> {
    const process = freshProcess([SCRIPT, transport]);
    const [, found] = await process.line(/^listening (\d+)$/);
    const port = Number(found);
    const honest = await HonestClient.connect(port);
    return new FuzzedServer(process, { transport, port, honest });
  }

  /** Writes of the honest client. */
  get writes(): number {
    return this.#honest.writes;
  }

  /** @inheritdoc */
  open(): Promise<Peer> {
    // The hardened one does not wait for the end of what is too large.
    const tooBig = this.#transport === "hardened" ? WS_TOO_BIG : CLOSE.tooBig;
    return FuzzSocket.open(this.port, tooBig);
  }

  /** @inheritdoc */
  async check(): Promise<void> {
    this.checkProcess();
    try {
      await this.#honest.write();
    } catch (error) {
      // Where the process has ended that is what matters.
      this.checkProcess();
      throw error;
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

  /** @inheritdoc */
  report(): Promise<ServerReport> {
    return this.#honest.report();
  }

  /** @inheritdoc */
  plant(what: PlantArguments): Promise<void> {
    return this.#honest.plant(what);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#honest.destroy();
    await this.#process.kill();
    await within(this.#process[Symbol.asyncDispose](), {
      describe: () => "end of the server",
    });
  }
}
