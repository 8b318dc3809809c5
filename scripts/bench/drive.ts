/**
 * Drives a server in a closed loop.
 *
 * @module
 */
import type { BenchProcess } from "./bench_process.ts";
import type { Load } from "./load.ts";
import { sleep } from "./statistics.ts";

/** How many updates may be on their way. */
const WINDOW = 16;
const DELIVERY_MS = 10_000;

/** What a closed loop took. */
export interface Driven {
  readonly updates: number;
  readonly deliveries: number;
  readonly cpuMs: number;
  readonly elapsedMs: number;
  /** Bytes of each delivery, with the headers of WebSocket. */
  readonly bytesPerDelivery: number;
}

/**
 * Lets the server update at `hz`, but never with more than a few updates that
 * have not reached every subscriber, so that no queue grows. Counts only if each
 * update was one message to each subscriber.
 */
export async function drive(
  server: BenchProcess,
  load: Load,
  { subscribers, hz, ms }: { subscribers: number; hz: number; ms: number },
): Promise<Driven> {
  const before = await load.totals();
  const cpuBeforeMs = server.cpuMs();
  const startMs = performance.now();
  const received = () => load.messages - before.messages;
  let granted = 0;
  for (
    let elapsedMs = 0;
    elapsedMs < ms;
    elapsedMs = performance.now() - startMs
  ) {
    const due = Math.floor(elapsedMs * hz / 1000) + 1;
    const count = Math.min(due, Math.floor(received() / subscribers) + WINDOW) -
      granted;
    if (count > 0) {
      granted += count;
      void server.command("grant", { count });
    }
    await sleep(1);
  }
  const deadline = performance.now() + DELIVERY_MS;
  const deliveries = granted * subscribers;
  while (received() < deliveries && performance.now() < deadline) {
    await sleep(1);
  }
  const elapsedMs = performance.now() - startMs;
  const cpuMs = server.cpuMs() - cpuBeforeMs;
  const after = await load.totals();
  const messages = after.messages - before.messages;
  if (messages !== deliveries) {
    throw new Error(
      `${granted} updates to ${subscribers} subscribers were ${messages} messages`,
    );
  }
  return {
    updates: granted,
    deliveries,
    cpuMs,
    elapsedMs,
    bytesPerDelivery: (after.bytes - before.bytes) / deliveries,
  };
}
