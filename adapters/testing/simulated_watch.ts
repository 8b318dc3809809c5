/**
 * One watch of the simulated KV: tells the state of its keys at first, and when it
 * has changed; what changes while it is telling, or while nobody reads, is told
 * together.
 *
 * @module
 */
import type { KvEntry, Timer } from "../../server/ports.ts";
import { connectionLost, type KvRoute } from "./kv_route.ts";

/** What a watch needs. */
export interface SimulatedWatchOptions {
  readonly route: KvRoute;
  /** The state of its keys at this moment. */
  readonly read: () => KvEntry[];
  /** Called when the request has arrived at the database, which rings from then on. */
  readonly onOpen: () => void;
  /** Called once when it has ended, in whichever way. */
  readonly onEnd: () => void;
}

/** See the module's documentation. */
export class SimulatedWatch {
  /** What its reader gets. */
  readonly stream: ReadableStream<KvEntry[]>;
  readonly #options: SimulatedWatchOptions;
  #controller!: ReadableStreamDefaultController<KvEntry[]>; // by start(), at once
  /** The versionstamps that were told last. */
  #told: string | undefined;
  /** The newest state, while the stream has no room for it. */
  #untaken: KvEntry[] | undefined;
  /** What is on its way. */
  #trip: Timer | undefined;
  #hasNews = false;
  #isOver = false;

  /** Begins; the request is on its way. */
  constructor(options: SimulatedWatchOptions) {
    this.#options = options;
    this.stream = new ReadableStream({
      start: (controller) => void (this.#controller = controller),
      pull: () => this.#give(),
      cancel: () => this.silence(),
    });
    this.#trip = options.route.request(() => this.#arrive());
  }

  /** A key of it was written. */
  ring(): void {
    this.#hasNews = true;
    this.goOn();
  }

  /** Tells what it has kept silent about, unless a fault still forbids it. */
  goOn(): void {
    if (!this.#hasNews || this.#trip || this.#isOver) return;
    const { route } = this.#options;
    if (route.knob("outage")) return;
    switch (route.knob("watch")) {
      case "prompt":
        return this.#tell();
      case "late":
        this.#trip = route.wait(
          route.draw(route.knob("watchLateMs")),
          () => this.#tell(),
        );
        return;
      case "dead":
        return;
      case "ends":
        return this.break();
    }
  }

  /** Ends as a connection does that was lost: sometimes with an error. */
  break(): void {
    if (this.#isOver) return;
    const { route } = this.#options;
    const error = route.happens(0.5) ? connectionLost() : undefined;
    this.#trip?.cancel();
    this.#trip = route.answer(() => this.end(error));
  }

  /** Ends now: what reads is told so. */
  end(error?: Error): void {
    if (this.#isOver) return;
    this.silence();
    if (error) this.#controller.error(error);
    else this.#controller.close();
  }

  /** Ends without a word. */
  silence(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#trip?.cancel();
    this.#options.onEnd();
  }

  #arrive(): void {
    const { route, onOpen } = this.#options;
    if (route.knob("outage") || route.happens(route.knob("throwsBefore"))) {
      this.#trip = route.answer(() => this.end(connectionLost()));
      return;
    }
    onOpen();
    // Who hears that it is open may end it, or its process.
    if (!this.#isOver) this.#tell();
  }

  #tell(): void {
    this.#trip = undefined;
    this.#hasNews = false;
    const state = this.#options.read();
    const stamps = state.map(({ versionstamp }) => versionstamp).join();
    if (stamps === this.#told) return;
    this.#told = stamps;
    this.#trip = this.#options.route.answer(() => {
      this.#trip = undefined;
      this.#untaken = state;
      if ((this.#controller.desiredSize ?? 0) > 0) this.#give();
      this.goOn();
    });
  }

  #give(): void {
    const state = this.#untaken;
    // Before it is given: the stream asks for more while it takes it.
    this.#untaken = undefined;
    if (state) this.#controller.enqueue(state);
  }
}
