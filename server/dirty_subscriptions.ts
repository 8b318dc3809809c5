/**
 * The subscriptions of one connection that are behind their stores: sent at the end of
 * the tick, or as there is room, and those of a transaction in one message.
 *
 * @module
 */
import { Bonds } from "./bonds.ts";
import type { Outbox } from "./outbox.ts";
import type { Clock } from "./ports.ts";
import type { JointDelivery } from "./stores/joint_delivery.ts";
import type { Subscription } from "./subscription.ts";

/** See the module's documentation. */
export class DirtySubscriptions {
  readonly #clock: Clock;
  readonly #outbox: Outbox;
  readonly #dirty = new Set<Subscription>();
  /** Those that have to be sent in one message. */
  readonly #bonds = new Bonds<Subscription>();
  #isFlushDeferred = false;

  /** None is behind yet. */
  constructor(clock: Clock, outbox: Outbox) {
    this.#clock = clock;
    this.#outbox = outbox;
  }

  /** The subscription is behind. */
  add(subscription: Subscription): void {
    this.#dirty.add(subscription);
    if (this.#isFlushDeferred || this.#outbox.isFull) return;
    // At the end of the tick: more may change until then.
    this.#isFlushDeferred = true;
    this.#clock.defer(() => {
      this.#isFlushDeferred = false;
      this.flush();
    });
  }

  /** The subscription is over: others need not wait for it. */
  delete(subscription: Subscription): void {
    this.#dirty.delete(subscription);
    for (const other of this.#bonds.leave(subscription)) this.add(other);
  }

  /** Whether others have to be sent in the same message as this one. */
  isBound(subscription: Subscription): boolean {
    return this.#bonds.has(subscription);
  }

  /** Sends what belongs together: all of it now, or all of it later. */
  deliver(
    parts: readonly {
      readonly subscription: Subscription;
      readonly delivery: JointDelivery["delivery"];
    }[],
  ): void {
    const areReady = parts.every(({ subscription, delivery }) =>
      subscription.isUpTo(delivery) && !this.isBound(subscription)
    );
    if (areReady && !this.#outbox.isFull) {
      for (const { subscription, delivery } of parts) {
        subscription.take(delivery);
      }
      return;
    }
    // Sent one by one, as there is room, they would show a half of the transaction.
    this.#bonds.bind(parts.map(({ subscription }) => subscription));
    for (const { subscription } of parts) subscription.lag();
  }

  /** Sends what there is room for. */
  flush(): void {
    for (const subscription of [...this.#dirty]) {
      if (this.#outbox.isFull) return;
      // It may have gone with one that it is bound to.
      if (this.#dirty.has(subscription)) this.#flushGroup(subscription);
    }
  }

  /** Forgets all of them. */
  clear(): void {
    this.#dirty.clear();
  }

  #flushGroup(subscription: Subscription): void {
    for (const member of this.#bonds.groupOf(subscription)) {
      const { released } = member;
      released?.then(() => this.add(member));
      if (released) return;
      if (member.isAnswering && this.isBound(member)) return;
    }
    for (const member of this.#bonds.release(subscription)) {
      this.#dirty.delete(member);
      member.flush();
    }
  }
}
