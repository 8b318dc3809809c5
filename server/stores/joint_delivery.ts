/**
 * What a transaction changed, on its way to the subscribers: whoever follows several
 * of its stores gets all of it in one message.
 *
 * @module
 */
import type { Delivery, Fanout, Subscriber } from "./fanout.ts";

/** What one subscriber is to be sent of one store. */
export interface JointDelivery {
  readonly subscriber: Subscriber;
  readonly fanout: Fanout;
  readonly delivery: Delivery;
}

/** Whoever has several subscribers. */
export interface JointReceiver {
  /** Takes what belongs together: all of it in one message, or none of it yet. */
  patchedTogether(deliveries: readonly JointDelivery[]): void;
}

/** Hands what was gathered of these stores to their subscribers now. */
export function flushTogether(fanouts: Iterable<Fanout>): void {
  const all = [...fanouts];
  const shared = new Map<JointReceiver, JointDelivery[]>();
  // Before any is flushed: what is sent of one may make its receiver look at another.
  for (const fanout of all) fanout.release();
  for (const fanout of all) {
    fanout.flush((from, subscriber, delivery) => {
      const { receiver } = subscriber;
      if (!receiver) return subscriber.patched(from, delivery);
      const deliveries = shared.get(receiver) ?? [];
      deliveries.push({ subscriber, fanout: from, delivery });
      shared.set(receiver, deliveries);
    });
  }
  for (const [receiver, deliveries] of shared) {
    const [only, ...others] = deliveries;
    if (others.length > 0) receiver.patchedTogether(deliveries);
    else if (only) only.subscriber.patched(only.fanout, only.delivery);
  }
}
