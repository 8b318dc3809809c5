/**
 * The operations of one handle that are under way. Each travels to the database,
 * takes effect there at one moment, and its answer travels back; faults may hit it
 * on each of these.
 *
 * @module
 */
import type { Timer } from "../../server/ports.ts";
import {
  connectionLost,
  databaseClosed,
  type KvRoute,
  locked,
} from "./kv_route.ts";

/** What an operation is about; only a commit changes something. */
type Kind = "get" | "list" | "commit" | "watch";

/** Tells whoever waits how it went. */
type Answer = () => void;

interface Operation {
  readonly kind: Kind;
  /** Does it, once it has arrived. */
  readonly attempt: () => Answer;
  readonly reject: (error: Error) => void;
  /** What is on its way. */
  trip: Timer | undefined;
  /** It has not arrived yet. */
  isOutward: boolean;
  /** Nobody waits for an answer. */
  isOrphan: boolean;
  isResent: boolean;
  /** The answer that hangs. */
  held: Answer | undefined;
}

/** See the module's documentation. */
export class KvOperations {
  readonly #route: KvRoute;
  readonly #isLocal: boolean;
  readonly #onApplied: (kind: Kind) => void;
  readonly #underWay = new Set<Operation>();

  /** None yet. `onApplied` may call {@linkcode KvOperations.kill}. */
  constructor(
    route: KvRoute,
    { isLocal, onApplied }: {
      isLocal: boolean;
      onApplied: (kind: Kind) => void;
    },
  ) {
    this.#route = route;
    this.#isLocal = isLocal;
    this.#onApplied = onApplied;
  }

  /** How many are under way. */
  get size(): number {
    return this.#underWay.size;
  }

  /** Sends an operation, whose `effect` is what it does at the database. */
  run<T>(kind: Kind, effect: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const attempt = (): Answer => {
        try {
          const value = effect();
          return () => resolve(value);
        } catch (error) {
          return () => reject(error);
        }
      };
      this.#send(this.#begin({ kind, attempt, reject }));
    });
  }

  /** Rejects all; commits that have not arrived yet stay on their way. */
  close(): void {
    for (const operation of [...this.#underWay]) {
      if (!operation.isOrphan) operation.reject(databaseClosed());
      if (operation.isOutward && operation.kind === "commit") {
        operation.isOrphan = true;
      } else this.#end(operation);
    }
  }

  /** Forgets all, but commits that outlive their process. */
  kill(): void {
    const outlives = this.#route.knob("outlives");
    for (const operation of [...this.#underWay]) {
      const isTravelling = operation.isOutward && operation.kind === "commit";
      if (isTravelling && this.#route.happens(outlives)) {
        operation.isOrphan = true;
      } else this.#end(operation);
    }
  }

  /** Lets answers that hang go on. */
  goOn(): void {
    for (const operation of this.#underWay) {
      const { held } = operation;
      operation.held = undefined;
      if (held) this.#answer(operation, held);
    }
  }

  #begin(
    { kind, attempt, reject }: Pick<Operation, "kind" | "attempt" | "reject">,
  ): Operation {
    const operation: Operation = {
      kind,
      attempt,
      reject,
      trip: undefined,
      isOutward: true,
      isOrphan: false,
      isResent: false,
      held: undefined,
    };
    this.#underWay.add(operation);
    return operation;
  }

  #end(operation: Operation): void {
    operation.trip?.cancel();
    this.#underWay.delete(operation);
  }

  #send(operation: Operation): void {
    operation.isOutward = true;
    operation.trip = this.#route.request(() => this.#arrive(operation));
  }

  /** It is at the database. The order of the draws is part of what a seed gives. */
  #arrive(operation: Operation): void {
    const route = this.#route;
    operation.isOutward = false;
    const fail = (error: Error) =>
      this.#answer(operation, () => operation.reject(error));
    if (route.knob("outage")) return fail(connectionLost());
    if (operation.isOrphan) {
      operation.attempt();
      return this.#end(operation);
    }
    if (route.happens(route.knob("locked"))) return fail(locked());
    if (route.happens(route.knob("throwsBefore"))) {
      return fail(connectionLost());
    }
    if (operation.kind === "commit" && this.#isDelayed(operation)) {
      return fail(connectionLost());
    }
    const doesHang = route.happens(route.knob("hangs"));
    if (doesHang && route.happens(0.5)) {
      operation.held = () => operation.reject(connectionLost());
      return;
    }
    const answer = operation.attempt();
    this.#onApplied(operation.kind);
    if (!this.#underWay.has(operation)) return;
    if (doesHang) operation.held = answer;
    else if (this.#isResent(operation)) this.#send(operation);
    else if (route.happens(route.knob("throwsAfter"))) fail(connectionLost());
    else if (route.happens(route.knob("lockedAfter"))) fail(locked());
    else this.#answer(operation, answer);
  }

  /** Whether the commit is to land later; then it does so on its own. */
  #isDelayed(operation: Operation): boolean {
    const { chance, ms } = this.#route.knob("landsLate");
    if (!this.#route.happens(chance)) return false;
    const late = this.#begin(operation);
    late.isOrphan = true;
    late.trip = this.#route.wait(
      this.#route.draw(ms),
      () => this.#arrive(late),
    );
    return true;
  }

  #isResent(operation: Operation): boolean {
    // A driver of a file has nobody to send it to again.
    if (this.#isLocal || operation.isResent) return false;
    operation.isResent = this.#route.happens(this.#route.knob("resends"));
    return operation.isResent;
  }

  #answer(operation: Operation, answer: Answer): void {
    if (operation.isOrphan) return this.#end(operation);
    operation.trip = this.#route.answer(() => {
      this.#end(operation);
      answer();
    });
  }
}
