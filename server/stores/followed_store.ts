/**
 * One store whose subscribers are counted: what is known, what the record says, and
 * what has to be told.
 *
 * @module
 */
import type { StoreId } from "../log/keys.ts";
import type { StoreDefinition } from "./definition.ts";
import type {
  InterestRecord,
  InterestUse,
  NextInterest,
  OwnInterest,
  ServerInterest,
} from "./interest_record.ts";
import type { Store } from "./store.ts";

/** See the module's documentation. */
export class FollowedStore {
  readonly id: StoreId;
  readonly definition: StoreDefinition | undefined;
  /** Whose subscribers are counted; absent where this server has had none. */
  store: Store | undefined;
  /** Its definition is being told of departures. */
  isTelling = false;
  #count = 0;
  /** Departures that are not in the record. */
  #fresh = 0;
  /** Those in it that have to be told. */
  #left = 0;
  #told = 0;
  #attempt = 0;
  #recorded: ServerInterest | undefined;
  /** Attempts whose outcome is not known. */
  readonly #attempts = new Map<number, () => void>();

  /** A store without subscribers. */
  constructor(id: StoreId, definition: StoreDefinition | undefined) {
    this.id = id;
    this.definition = definition;
  }

  /** Subscribers of this server. */
  get count(): number {
    return this.#count;
  }

  /** For what they are counted. */
  get use(): InterestUse {
    return {
      isCounted: this.definition?.selfDestruct !== undefined,
      isIdleTold: this.definition?.onIdle !== undefined,
    };
  }

  /** Whether the record is not as it should be. */
  get isStale(): boolean {
    const recorded = this.#recorded;
    if (this.#fresh > 0) return true;
    if (!recorded) return this.#count > 0 || this.#left > 0;
    const { count, left, idle, epoch } = recorded;
    if ((this.#count > 0) !== (count > 0)) return true;
    if (this.use.isCounted && this.#count !== count) return true;
    if (this.#count > 0 && this.store?.epoch !== epoch) return true;
    return this.#left !== left || (idle > 0 && idle <= this.#told);
  }

  /** What its definition has to be told, if anything. */
  get toTell(): ServerInterest | undefined {
    const { left = 0, idle = 0 } = this.#recorded ?? {};
    return left > 0 || idle > this.#told ? this.#recorded : undefined;
  }

  /** Whether nothing is to be kept of it. */
  get isOver(): boolean {
    return !this.#recorded && !this.isStale && !this.isTelling;
  }

  /** The store has other subscribers, of which some have left. */
  take(store: Store, departed: number): void {
    this.store = store;
    this.#count = store.fanout.size;
    this.#fresh += departed;
    // Nobody asks for those who left while others are there.
    if (this.#count > 0 && !this.use.isCounted) this.#fresh = 0;
  }

  /** What is to be in the record under the name of this server. */
  toOwn(server: string, record: InterestRecord): OwnInterest {
    const before = record.get(server);
    if (before) this.#attempts.get(before.attempt)?.();
    return {
      server,
      fresh: this.#fresh,
      count: this.#count,
      epoch: this.store?.epoch ?? "",
      left: this.#left,
      told: this.#told,
      attempt: ++this.#attempt,
    };
  }

  /** It is about to be written; what is returned is to be called once it was. */
  attempt(
    { attempt, left, fresh }: OwnInterest,
    { own }: NextInterest,
  ): () => void {
    const landed = () => {
      // More may have left since.
      this.#fresh = Math.max(0, this.#fresh - fresh);
      this.#left += (own?.left ?? 0) - left;
      this.#recorded = own;
      this.#attempts.clear();
    };
    this.#attempts.set(attempt, landed);
    return landed;
  }

  /** The definition was told of so many departures, and of that time that it was idle. */
  told({ left, idle }: ServerInterest): void {
    this.#left = Math.max(0, this.#left - left);
    if (idle > 0) this.#told = idle;
  }

  /** The same under a new name of this server: what was recorded is others' now. */
  renamed(): FollowedStore {
    const next = new FollowedStore(this.id, this.definition);
    next.store = this.store;
    next.#count = this.#count;
    next.#fresh = this.#fresh;
    return next;
  }
}
