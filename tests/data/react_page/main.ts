/**
 * The scenarios of React in a browser, for a test to play one after the other.
 *
 * @module
 */
import * as call from "./call_scenarios.tsx";
import * as concurrent from "./concurrent_scenarios.tsx";
import { makeUp, type States, takeOver } from "./server_page.tsx";
import { play } from "./stage.tsx";
import * as store from "./store_scenarios.tsx";
import * as write from "./write_scenarios.tsx";
import * as zustand from "./zustand_scenarios.tsx";

const scenarios = { ...store, ...write, ...call, ...concurrent, ...zustand };
const hydrations = { takeOver, makeUp };

/** What the page offers to its test as a global. */
export interface ReactPage {
  /** Names of the scenarios. */
  readonly names: readonly string[];
  /** Plays one. */
  play(name: string, url: string): Promise<void>;
  /** Plays one that begins with what a server has rendered. */
  hydrate(
    name: string,
    given: { url: string; html: string; states: States },
  ): Promise<void>;
}

const page: ReactPage = {
  names: Object.keys(scenarios),
  // The test passes names of theirs.
  play: (name, url) => play(scenarios[name as keyof typeof scenarios], url),
  hydrate: (name, { url, html, states }) =>
    play(hydrations[name as keyof typeof hydrations], url, html, states),
};
Object.assign(globalThis, { page });
