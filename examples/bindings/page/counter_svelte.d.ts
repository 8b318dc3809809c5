import type { Client } from "@headwater/sync/client";
import type { Component } from "svelte";

/** What Svelte makes of `counter.svelte`. */
declare const Counter: Component<{ client: Client }>;
export default Counter;
