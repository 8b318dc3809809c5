/**
 * A proxy whose links carry so many bytes a second and no more.
 *
 * @module
 */

/** How often a slow link carries something. */
const TICK_MS = 20;

/** Starts a proxy to a port of this machine, each of whose links carries so many bytes a second down. */
export function startSlowLink(
  targetPort: number,
  bytesPerSecond: number,
): SlowLink {
  return new SlowLink(targetPort, bytesPerSecond);
}

/** See {@linkcode startSlowLink}. */
export class SlowLink implements AsyncDisposable {
  readonly #targetPort: number;
  readonly #bytesPerSecond: number;
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #open = new Set<Deno.TcpConn>();
  readonly #running: Promise<void>;
  #bytes = 0;
  #links = 0;

  /** Made by {@linkcode startSlowLink}. */
  constructor(targetPort: number, bytesPerSecond: number) {
    this.#targetPort = targetPort;
    this.#bytesPerSecond = bytesPerSecond;
    this.#running = this.#accept();
  }

  /** Where clients connect to. */
  get port(): number {
    return this.#listener.addr.port;
  }

  /** Bytes that went to clients. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Connections so far. */
  get links(): number {
    return this.#links;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const connection of this.#open) close(connection);
    await this.#running;
  }

  async #accept(): Promise<void> {
    const links: Promise<void>[] = [];
    try {
      for await (const down of this.#listener) links.push(this.#link(down));
    } catch {
      // The listener was closed while it accepted.
    }
    await Promise.all(links);
  }

  async #link(down: Deno.TcpConn): Promise<void> {
    this.#links++;
    const up = await Deno.connect({
      hostname: "127.0.0.1",
      port: this.#targetPort,
    });
    this.#open.add(down).add(up);
    await Promise.all([
      this.#carry(down, up, new Uint8Array(64 * 1024)),
      this.#carrySlowly(up, down),
    ]);
    this.#open.delete(down);
    this.#open.delete(up);
  }

  async #carry(
    from: Deno.TcpConn,
    to: Deno.TcpConn,
    buffer: Uint8Array,
  ): Promise<void> {
    try {
      for (
        let read = await from.read(buffer);
        read !== null;
        read = await from.read(buffer)
      ) await writeAll(to, buffer.subarray(0, read));
    } catch {
      // Ended by either end, or by the proxy's own.
    }
    close(from);
    close(to);
  }

  /** Reads no more than may be passed on, so that what is too much waits in the server. */
  async #carrySlowly(from: Deno.TcpConn, to: Deno.TcpConn): Promise<void> {
    const startMs = performance.now();
    let passed = 0;
    try {
      for (;;) {
        const elapsedMs = performance.now() - startMs;
        const due = Math.floor(elapsedMs * this.#bytesPerSecond / 1_000) -
          passed;
        if (due > 0) {
          const buffer = new Uint8Array(Math.min(due, 256 * 1024));
          const read = await from.read(buffer);
          if (read === null) break;
          // What was idle before cannot be made up for.
          passed = Math.max(
            passed + read,
            Math.floor(
              (performance.now() - startMs - TICK_MS) *
                this.#bytesPerSecond / 1_000,
            ),
          );
          this.#bytes += read;
          await writeAll(to, buffer.subarray(0, read));
        }
        await tick();
      }
    } catch {
      // As above.
    }
    close(from);
    close(to);
  }
}

async function writeAll(to: Deno.TcpConn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await to.write(bytes.subarray(at));
}

/** The time that a link takes is what it is about. */
function tick(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, TICK_MS));
}

function close(connection: Deno.TcpConn): void {
  try {
    connection.close();
  } catch {
    // It is closed already.
  }
}
