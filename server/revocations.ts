/**
 * Users and clients who have to be asked again who they are, on every server over the
 * KV. Each is a record, and a counter says that there is another one: servers read
 * that every two seconds, whatever becomes of their feeds and watches.
 *
 * @module
 */
import { shown } from "../protocol/shown.ts";
import { newId } from "./log/ids.ts";
import { bellKey, lastString, revisionKey, revocationKey } from "./log/keys.ts";
import { inTime, retry } from "./log/patience.ts";
import { decodeRecord, encodeRecord, text } from "./log/record.ts";
import type { Clock, Kv, Random, Timer } from "./ports.ts";

/** How often the counter is read. */
const POLL_MS = 2_000;
/** How long a record stays. */
const KEPT_MS = 10 * 60 * 1000;

/** Whose access has changed. */
export type Revocation =
  | { readonly userId: string }
  | { readonly clientId: string };

/** Who has to know. */
export interface RevocationListener {
  /** Whether anything depends on who is behind a connection. */
  isNeeded(): boolean;
  /** Has these asked again on this server. */
  revoked(revocation: Revocation): Promise<void>;
  /** The KV has not told for too long whether there are others. */
  lost(): void;
}

/** What revocations need. */
export interface RevocationsOptions {
  readonly kv: Kv;
  readonly clock: Clock;
  readonly random: Random;
  /** How long a revocation is tried to be written. */
  readonly commitMs: number;
  /** How long the KV may be silent; by default half of the time for which records stay. */
  readonly accessMs?: number | undefined;
  readonly listener: RevocationListener;
  readonly onError: (error: unknown) => void;
}

/** See the module's documentation. */
export class Revocations {
  readonly #options: RevocationsOptions;
  readonly #accessMs: number;
  /** Records that have been heeded. */
  #known = new Set<string>();
  /** The last of them, and how many there were before. */
  #recent: { readonly revocation: Revocation; readonly atMs: number }[] = [];
  #dropped = 0;
  #revision: unknown;
  #poll: Timer | undefined;
  #deadline: Timer | undefined;
  #polling: Promise<void> | undefined;
  #isRung = false;
  #freshUntilMs = -Infinity;
  #isStarted = false;
  #isClosed = false;

  /** Knows of none yet. */
  constructor(options: RevocationsOptions) {
    this.#options = options;
    this.#accessMs = options.accessMs ?? KEPT_MS / 2;
  }

  /** Whether the KV has told in time. */
  get isFresh(): boolean {
    return this.#options.clock.monotonic() < this.#freshUntilMs;
  }

  /** Where the revocations so far end. */
  get mark(): number {
    return this.#dropped + this.#recent.length;
  }

  /** Those that came after a mark. */
  since(mark: number): Revocation[] {
    return this.#recent.slice(Math.max(0, mark - this.#dropped))
      .map(({ revocation }) => revocation);
  }

  /**
   * Begins to follow them, if anything depends on it. Those that are there already are
   * nobody's: who connects from now on is asked anyway.
   */
  async start(): Promise<void> {
    if (this.#isStarted || !this.#options.listener.isNeeded()) return;
    this.#isStarted = true;
    const { clock } = this.#options;
    const startedAtMs = clock.monotonic();
    this.#revision = await this.#readRevision();
    for (const [id] of await this.#records()) this.#known.add(id);
    this.#succeeded(startedAtMs);
    this.#schedule();
  }

  /** Records one, and heeds it here; other servers will within a few seconds. */
  async revoke(revocation: Revocation): Promise<void> {
    const { kv, clock, random, commitMs, listener } = this.#options;
    const id = newId(random);
    const bytes = encodeRecord(
      "userId" in revocation
        ? { u: revocation.userId }
        : { c: revocation.clientId },
    );
    // Known before it is there: the poll must not have it heeded once more.
    this.#known.add(id);
    // It may be written twice, under the same id.
    await retry({ clock, random, limitMs: commitMs }, () =>
      kv.atomic()
        .set(revocationKey(id), bytes, { expireIn: KEPT_MS })
        .sum(revisionKey(), 1n)
        .sum(bellKey(), 1n)
        .commit()).catch((error) => {
        this.#known.delete(id);
        throw error;
      });
    this.#remember(revocation);
    await listener.revoked(revocation);
  }

  /** The counter may have changed. */
  ring(): void {
    if (!this.#isStarted || this.#isClosed) return;
    if (this.#polling) {
      this.#isRung = true;
      return;
    }
    this.#isRung = false;
    this.#polling = this.#read()
      .catch((error) => {
        if (!this.#isClosed) this.#options.onError(error);
      })
      .finally(() => {
        this.#polling = undefined;
        if (this.#isRung) this.ring();
      });
  }

  /** Ends. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#poll?.cancel();
    this.#deadline?.cancel();
    await this.#polling;
  }

  #schedule(): void {
    const ms = Math.min(POLL_MS, this.#accessMs / 4);
    this.#poll = this.#options.clock.setTimer(ms, () => {
      this.ring();
      this.#schedule();
    });
  }

  async #read(): Promise<void> {
    const { clock, listener } = this.#options;
    const startedAtMs = clock.monotonic();
    const revision = await this.#readRevision();
    if (this.#isClosed) return;
    if (revision !== this.#revision) {
      const records = await this.#records();
      if (this.#isClosed) return;
      const isNew = ([id]: [string, Revocation]) => !this.#known.has(id);
      for (const [, revocation] of records.filter(isNew)) {
        this.#remember(revocation);
        // Not awaited: the next one is not to wait for whoever has to be asked.
        listener.revoked(revocation).catch(this.#options.onError);
      }
      // What has expired does not come back.
      this.#known = new Set(records.map(([id]) => id));
      this.#revision = revision;
    }
    this.#succeeded(startedAtMs);
  }

  async #readRevision(): Promise<unknown> {
    const entry = await this.#inTime(this.#options.kv.get(revisionKey()));
    return entry.versionstamp;
  }

  async #records(): Promise<[string, Revocation][]> {
    const read = async () => {
      const records: [string, Revocation][] = [];
      const prefix = revisionKey();
      for await (const { key, value } of this.#options.kv.list({ prefix })) {
        const revocation = decode(value);
        if (revocation) records.push([lastString(key), revocation]);
      }
      return records;
    };
    return await this.#inTime(read());
  }

  /** A KV that hangs is one that does not tell. */
  async #inTime<T>(read: Promise<T>): Promise<T> {
    const { clock } = this.#options;
    return await inTime(clock, read, clock.monotonic() + POLL_MS);
  }

  #succeeded(startedAtMs: number): void {
    if (this.#isClosed) return;
    const { clock, listener } = this.#options;
    this.#freshUntilMs = startedAtMs + this.#accessMs;
    this.#deadline?.cancel();
    const leftMs = Math.max(0, this.#freshUntilMs - clock.monotonic());
    this.#deadline = clock.setTimer(leftMs, () => listener.lost());
  }

  #remember(revocation: Revocation): void {
    const nowMs = this.#options.clock.monotonic();
    this.#recent.push({ revocation, atMs: nowMs });
    // No hello takes so long.
    const kept = this.#recent.filter(({ atMs }) => nowMs - atMs < KEPT_MS);
    this.#dropped += this.#recent.length - kept.length;
    this.#recent = kept;
  }
}

/** One that cannot be read is of a newer server. */
function decode(value: unknown): Revocation | undefined {
  try {
    const { u, c } = decodeRecord(value, "revocation");
    return u === undefined ? { clientId: text(c) } : { userId: text(u) };
  } catch {
    return undefined;
  }
}

/**
 * Whose access is to be revoked.
 *
 * @throws {TypeError} if it is neither a user nor a client.
 */
export function toRevocation(
  whom: { readonly userId: string | number } | { readonly clientId: string },
): Revocation {
  const given: unknown = whom;
  const { userId, clientId, ...others } =
    typeof given === "object" && given !== null
      ? given as Readonly<Record<string, unknown>> // it may have anything
      : {};
  const isUser = typeof userId === "string" || Number.isFinite(userId);
  const isOne = isUser !== (typeof clientId === "string");
  const isAll = (isUser ? clientId : userId) === undefined &&
    Object.keys(others).length === 0;
  if (!isOne || !isAll) {
    throw new TypeError(
      `Cannot revoke: it takes either { userId }, a string or a number, or { clientId }, a string, not ${
        shown(given)
      }`,
    );
  }
  return isUser ? { userId: String(userId) } : { clientId: String(clientId) };
}
