/**
 * Events: sent to who is connected at the moment, at most once, and forgotten.
 * Who is connected here has them at once; other servers read them in a feed.
 *
 * @module
 */
import { CLIENT_CHANNELS } from "../protocol/channels.ts";
import { encodeFrame } from "../protocol/codec.ts";
import { LimitError } from "../protocol/errors.ts";
import type { Limits } from "../protocol/limits.ts";
import { cleanName, cleanValue } from "../protocol/value.ts";
import type { CallScopes } from "./call_scope.ts";
import type { EventQueue } from "./event_queue.ts";
import { type EmitOptions, toAudience } from "./event_audience.ts";
import { encodeEvent, type SentEvent } from "./log/event_record.ts";
import type { FeedEvents } from "./log/feed_slot.ts";
import type { Definitions } from "./stores/definitions.ts";
import type { Roster } from "./roster.ts";

/** What events work with. */
export interface EventsOptions {
  readonly limits: Pick<Limits, "eventBytes" | "nameLength">;
  readonly definitions: Pick<Definitions, "find">;
  readonly namespace: string;
  /** Id of this run of the server. */
  readonly sender: string;
  readonly roster: Roster;
  readonly scopes: CallScopes;
  /** The way to other servers, where there is one. */
  readonly queue: Pick<EventQueue, "push"> | undefined;
}

/** See the module's documentation. */
export class Events {
  readonly #options: EventsOptions;
  #number = 0;

  /** No events yet. */
  constructor(options: EventsOptions) {
    this.#options = options;
  }

  /** Sends an event. */
  emit(channel: string, data: unknown, options: EmitOptions): void {
    const { limits, namespace, scopes, roster, queue, definitions } =
      this.#options;
    const { nameLength } = limits;
    const name = cleanName(channel, "channel", nameLength);
    if (CLIENT_CHANNELS.has(name)) {
      throw new TypeError(
        `Cannot emit "${name}": clients use that channel for what they say themselves`,
      );
    }
    const clean = data === undefined
      ? undefined
      : cleanValue(data, { what: `data of event "${name}"` });
    const audience = toAudience(options, {
      channel: name,
      definitions,
      nameLength,
    });
    const event: SentEvent = {
      namespace,
      channel: name,
      ...(clean !== undefined && { data: clean }),
      number: this.#number + 1,
      audience,
    };
    const bytes = encodeEvent(event);
    if (bytes.byteLength > limits.eventBytes) {
      throw new LimitError(
        `emit "${name}"`,
        "eventBytes",
        limits.eventBytes,
        bytes.byteLength,
      );
    }
    // The run before may have sent it, and nobody knows.
    if (scopes.current()?.isResent) return;
    this.#number++;
    this.#deliver(event, this.#options.sender);
    const { clientId } = audience;
    // It is here, so it is nowhere else.
    if (clientId !== undefined && roster.hasClient(clientId)) return;
    queue?.push(bytes);
  }

  /** Takes what another server has sent. */
  receive({ sender, events }: FeedEvents): void {
    for (const event of events) {
      if (event.namespace === this.#options.namespace) {
        this.#deliver(event, sender);
      }
    }
  }

  #deliver({ channel, data, number, audience }: SentEvent, sender: string) {
    let frame: Uint8Array<ArrayBuffer> | undefined;
    for (const { outbox } of this.#options.roster.find(audience)) {
      // Who does not keep up misses it: it cannot be sent later in a shorter form.
      if (outbox.isFull) continue;
      frame ??= encodeFrame({
        type: "evt",
        channel,
        ...(data !== undefined && { data }),
        order: { sender, number },
      });
      outbox.push(frame);
    }
  }
}
