/**
 * What a provider gives to the components below it. This module is browser
 * compatible.
 *
 * @module
 */
import {
  type Client,
  type ClientOptions,
  type ClientStatus,
  createClient,
} from "../../client/mod.ts";
import { watchStatus } from "../status_watch.ts";
import { type SourceOwner, StoreSource } from "./store_source.ts";

/** Where the client of a {@linkcode Binding} comes from, and what its page began with. */
export interface BindingOptions {
  /** A client that somebody else has made, and ends. */
  readonly client?: Client | undefined;
  /** Where to connect one that is made here, and ended. */
  readonly url?: string | undefined;
  /** Options of that. */
  readonly options?: ClientOptions | undefined;
  /** States by store, until the server gives others. */
  readonly initialStates?: Readonly<Record<string, unknown>> | undefined;
}

/**
 * A client and its stores. Making one does nothing yet: React may render a provider
 * whose component it never shows, and on a server it shows none.
 */
export class Binding implements SourceOwner {
  readonly #options: BindingOptions;
  readonly #sources = new Map<string, StoreSource>();
  readonly #statusListeners = new Set<() => void>();
  #client: Client | undefined;
  #mounts = 0;
  #unwatch: (() => void) | undefined;

  constructor(options: BindingOptions) {
    this.#options = options;
    this.#client = options.client;
  }

  /** Whether the provider is on the page. */
  get isMounted(): boolean {
    return this.#mounts > 0;
  }

  /** The client; one that is made here connects with {@linkcode mount}. */
  readonly client = (): Client =>
    this.#client ??= createClient(undefined, this.#options.options);

  /** Where the client stands. */
  readonly status = (): ClientStatus => this.#client?.status ?? "idle";

  /** Listens to changes of client and status; returns the undo. */
  readonly onStatus = (listener: () => void): () => void => {
    this.#statusListeners.add(listener);
    return () => this.#statusListeners.delete(listener);
  };

  /** The store with that name. */
  source(name: string): StoreSource {
    const present = this.#sources.get(name);
    if (present) return present;
    // Only own properties: a store may have the name of something that objects inherit.
    const { initialStates = {} } = this.#options;
    const initial = Object.hasOwn(initialStates, name)
      ? initialStates[name]
      : undefined;
    const source = new StoreSource(name, initial as object | undefined, this); // states are objects
    this.#sources.set(name, source);
    return source;
  }

  /** The provider is on the page: connects. Returns the undo. */
  mount(): () => void {
    if (!this.#unwatch) this.#open();
    this.#mounts++;
    return () => {
      this.#mounts--;
      // StrictMode takes it off and puts it on again at once; a connection must outlive that.
      queueMicrotask(() => {
        if (!this.isMounted) this.#close();
      });
    };
  }

  /** Something was written: shows it at once. */
  tell(): void {
    for (const source of [...this.#sources.values()]) source.tell();
  }

  adopt(source: StoreSource): void {
    if (!this.#sources.has(source.name)) {
      this.#sources.set(source.name, source);
    }
  }

  forget(source: StoreSource): void {
    if (this.#sources.get(source.name) === source) {
      this.#sources.delete(source.name);
    }
  }

  #open(): void {
    const client = this.client();
    const { url } = this.#options;
    if (url !== undefined) client.connect(url); // refuses what is no URL
    this.#unwatch = watchStatus(client, () => this.#tellStatus());
    for (const source of this.#sources.values()) {
      if (source.isAsked) source.open();
    }
    this.#tellStatus();
  }

  #close(): void {
    this.#unwatch?.();
    this.#unwatch = undefined;
    for (const source of this.#sources.values()) source.close();
    if (this.#options.client) return;
    this.#client?.destroy();
    this.#client = undefined;
  }

  #tellStatus(): void {
    for (const listener of [...this.#statusListeners]) listener();
  }
}
