/**
 * One connection's subscription to one store: which version it was sent, and
 * what it is sent next.
 *
 * @module
 */
import { encodeFrame, joinFrames } from "../protocol/codec.ts";
import { toErrorBody } from "../protocol/error_body.ts";
import type { HeadwaterError } from "../protocol/errors.ts";
import type { ResumeToken } from "../protocol/frames.ts";
import type { Outbox } from "./outbox.ts";
import type { Session } from "./session.ts";
import type { Delivery, Fanout, Subscriber } from "./stores/fanout.ts";
import type { StoreAnswer } from "./stores/store_frames.ts";
import type { JointReceiver } from "./stores/joint_delivery.ts";
import { answerSubscription } from "./stores/resume.ts";
import type { Store } from "./stores/store.ts";
import type { AccessContext } from "./stores/writer.ts";

/** Whoever has subscriptions. */
export interface SubscriptionOwner extends JointReceiver {
  readonly outbox: Outbox;
  /** The session whose calls are to be named by what shows them; undefined where none are. */
  readonly shownSession: Session | undefined;
  /** The subscription must be flushed before the message goes, or once the outbox has drained. */
  dirtied(subscription: Subscription): void;
  /** Whether others have to be sent in the same message as this one. */
  isBound(subscription: Subscription): boolean;
  /** The subscription was sent a newer version: answers may wait for it. */
  advanced(): void;
  /** The subscription is over. */
  finished(subscription: Subscription): void;
}

/** How often the answer to a subscription is made anew because a transaction came in between. */
const ANSWERS = 8;
/** A resume above this size is not kept for a connection that is full. */
const HELD_BYTES = 64 * 1024;

/** See the module's documentation. */
export class Subscription implements Subscriber {
  readonly name: string;
  readonly #owner: SubscriptionOwner;
  #store: Store | undefined;
  /** That of the store, or of the view of it that is followed. */
  #fanout: Fanout | undefined;
  /** Version that was sent; undefined: nothing yet. */
  #sent: number | undefined;
  #isAnswering = true;
  #isDirty = false;
  /** The answer to the subscription, until it can be sent. */
  #held: StoreAnswer | undefined;
  #isOver = false;

  /** A subscription that has no store yet. */
  constructor(name: string, owner: SubscriptionOwner) {
    this.name = name;
    this.#owner = owner;
  }

  /** @inheritdoc */
  get receiver(): SubscriptionOwner {
    return this.#owner;
  }

  /** Whether it has ended. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Whether the connection was sent what that version contains; true where it never can be. */
  shows(epoch: string, version: number): boolean {
    // While its store is being opened, the client has what it had before it connected.
    if (!this.#store) return this.#isOver;
    if (this.#sent === undefined) return false;
    if (this.#store.epoch === epoch) return this.#sent >= version;
    // Another life: the next one, of which anything shows it, or one that is about to end.
    return !this.#store.isGone;
  }

  /** Begins to follow the store as `context` may see it, from what the client has. */
  async attach(
    store: Store,
    token: ResumeToken | undefined,
    context: AccessContext,
  ): Promise<void> {
    if (this.#isOver) return;
    this.#isAnswering = true;
    this.#store = store;
    const fanout = store.views?.open(context) ?? store.fanout;
    this.#follow(store, fanout);
    const answer = await this.#answer(store, token, fanout);
    // It is over, or another view is followed by now.
    if (this.#isOver || this.#fanout !== fanout) return;
    this.#isAnswering = false;
    this.#sent = undefined;
    // A snapshot is made anew when it can be sent. What was missed is kept: another store's
    // snapshot in the same message must not turn it into one.
    const isKept = answer.isResume && answer.frame.byteLength <= HELD_BYTES;
    if (isKept || !this.#owner.outbox.isFull) this.#held = answer;
    if (this.#owner.outbox.isFull || this.#owner.isBound(this)) {
      return this.lag();
    }
    this.#sendHeld(fanout);
    if (this.#sent !== fanout.position.version) this.lag();
  }

  /** There is another user: follows the view that is theirs, if that is another one. */
  async review(context: AccessContext): Promise<void> {
    const store = this.#store;
    if (!store?.views || store.views.open(context) === this.#fanout) return;
    await this.attach(store, undefined, context);
  }

  /** @inheritdoc */
  patched(_: Fanout, delivery: Delivery): void {
    if (this.isUpTo(delivery) && !this.#owner.outbox.isFull) {
      this.take(delivery);
    } else {
      this.lag();
    }
  }

  /** Whether what is delivered is what comes next here. */
  isUpTo({ from }: Delivery): boolean {
    return !this.#isAnswering && !this.#isDirty && this.#sent === from;
  }

  /** Sends what is delivered. */
  take({ frame, version, calls }: Delivery): void {
    const { shownSession } = this.#owner;
    const own = shownSession && calls?.get(shownSession.id);
    this.#push(frame, own);
    this.#moveTo(version);
  }

  /** Sends what it is behind with later. */
  lag(): void {
    if (this.#isAnswering) return;
    if (this.#isDirty) this.#owner.dirtied(this);
    else this.#dirty();
  }

  /** Whether it was not answered yet: its owner is told that it is dirty once it was. */
  get isAnswering(): boolean {
    return this.#isAnswering;
  }

  /** Resolves when what its store has come to may be sent; undefined where it may. */
  get released(): Promise<void> | undefined {
    return this.#store?.fanout.released;
  }

  /** @inheritdoc */
  jumped(): void {
    if (this.#isAnswering) return;
    this.#sent = undefined;
    this.#dirty();
  }

  /** @inheritdoc */
  ended(_: Fanout, reason: "deleted" | HeadwaterError): void {
    if (reason === "deleted") return this.deleted();
    const error = toErrorBody(reason, "store_unreadable");
    this.#finish(encodeFrame({ type: "err", name: this.name, error }));
  }

  /** The life of the store that the client looked at is over. */
  deleted(): void {
    if (this.#isOver) return;
    this.#finish(encodeFrame({ type: "del", name: this.name }));
  }

  /** Sends what was missed as one delta, or as a snapshot where that is shorter. */
  flush(): void {
    if (!this.#isDirty || this.#isOver || !this.#store) return;
    const fanout = this.#fanout ?? this.#store.fanout;
    // Gathered patches would begin below what is sent now.
    this.#store.fanout.flush();
    // A view that cannot be made is over.
    if (this.#isOver) return;
    this.#isDirty = false;
    this.#sendHeld(fanout);
    const { version } = fanout.position;
    if (this.#sent === version) return;
    const delta = this.#sent === undefined
      ? undefined
      : fanout.frames.delta(this.#sent);
    this.#push(delta ?? fanout.frames.snapshot(), this.#ownCalls(version));
    this.#moveTo(version);
  }

  /** Stops following. */
  end(): void {
    this.#isOver = true;
    this.#fanout?.delete(this);
    this.#store = this.#fanout = undefined;
    this.#held = undefined;
  }

  #finish(frame: Uint8Array<ArrayBuffer>): void {
    this.#owner.outbox.push(frame);
    this.end();
    this.#owner.finished(this);
  }

  #follow(store: Store, fanout: Fanout): void {
    const before = this.#fanout;
    this.#fanout = fanout;
    if (!before || before === fanout) return fanout.add(this);
    // Nothing of what was followed leads to the other, and nothing more of it may be sent.
    this.#sent = this.#held = undefined;
    this.#isDirty = false;
    if (store.views) return store.views.move(this, before, fanout);
    fanout.add(this);
    before.delete(this);
  }

  /** The answer to the subscription; not before the other stores of a transaction are there, too. */
  async #answer(
    store: Store,
    token: ResumeToken | undefined,
    fanout: Fanout,
  ): Promise<StoreAnswer> {
    for (let count = 1;; count++) {
      const { released } = store.fanout;
      if (released) await released;
      const answer = await answerSubscription(store, token, fanout);
      if (!store.fanout.released || count === ANSWERS) return answer;
    }
  }

  /** Sends the answer that waits, unless it is of an epoch that has ended meanwhile. */
  #sendHeld(fanout: Fanout): void {
    const held = this.#held;
    this.#held = undefined;
    if (held?.position.epoch !== fanout.position.epoch) return;
    const { version } = held.position;
    this.#push(held.frame, this.#ownCalls(version));
    this.#moveTo(version);
  }

  /** The client's own calls that a version contains, as far as it may still wait for them. */
  #ownCalls(version: number): readonly number[] | undefined {
    const { shownSession } = this.#owner;
    return shownSession && this.#store?.callsOf(shownSession, version);
  }

  /** Sends a frame behind the one that says which of the client's calls it shows. */
  #push(
    frame: Uint8Array<ArrayBuffer>,
    calls: readonly number[] | undefined,
  ): void {
    const { outbox } = this.#owner;
    if (!calls || calls.length === 0) return outbox.push(frame);
    const own = encodeFrame({ type: "own", name: this.name, calls });
    // As one, since a message must not end between them.
    outbox.push(joinFrames([own, frame]));
  }

  #dirty(): void {
    if (this.#isDirty || this.#isOver) return;
    this.#isDirty = true;
    this.#owner.dirtied(this);
  }

  #moveTo(version: number): void {
    this.#sent = version;
    this.#owner.advanced();
  }
}
