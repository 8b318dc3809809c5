/**
 * Looks names up in a contract, for the compiler alone. This module is browser
 * compatible.
 *
 * @module
 */
import type { App, StateIn } from "./contract.ts";
import type { InputOf, OutputOf } from "./schema.ts";

/** Part `P` of contract `A`, by name. */
export type PartOf<A extends App, P extends keyof App> = NonNullable<A[P]>;

/** `T` where contract `A` says nothing about its part `P`, so that any name will do; else never. */
export type IfOpen<A extends App, P extends keyof App, T> = string extends
  keyof PartOf<A, P> ? T : never;

/** The names that contract `A` has in its part `P`; never where it says nothing about that. */
export type NameIn<A extends App, P extends keyof App> = string extends
  keyof PartOf<A, P> ? never : keyof PartOf<A, P> & string;

/** The full names that a name of a contract covers: `"Room:*"` covers `"Room:42"`. */
export type FullName<Pattern> = Pattern extends `${infer Kind}:*`
  ? `${Kind}:${string}`
  : Pattern;

/** The full names of all stores of a contract. */
export type StoreName<A extends App> = FullName<NameIn<A, "stores">>;

/** The name in a contract that covers the full name `N`, as the server finds it. */
export type PatternOf<A extends App, N> = N extends NameIn<A, "stores"> ? N
  : Narrowest<Covering<NameIn<A, "stores">, N>>;

/** Those of `Patterns` that cover the full name `N`. */
export type Covering<Patterns, N> = Patterns extends unknown
  ? N extends FullName<Patterns> ? Patterns : never
  : never;

/** Those of `Patterns` that cover nothing that another of them covers, too: the longest. */
export type Narrowest<Patterns, All = Patterns> = Patterns extends unknown
  ? [Covering<Patterns, FullName<Exclude<All, Patterns>>>] extends [never]
    ? Patterns
  : never
  : never;

/** The state of the store with the full name, or the name in the contract, `N`. */
export type StateOf<A extends App, N> = PatternOf<A, N> extends
  infer P extends keyof PartOf<A, "stores"> ? StateIn<PartOf<A, "stores">[P]>
  : never;

/** What a caller gives to function `N`. */
export type ArgsInput<A extends App, N extends keyof PartOf<A, "functions">> =
  PartOf<A, "functions">[N] extends { readonly args: infer S } ? InputOf<S>
    : unknown;

/** What the handler of function `N` gets. */
export type ArgsOf<A extends App, N extends keyof PartOf<A, "functions">> =
  PartOf<A, "functions">[N] extends { readonly args: infer S } ? OutputOf<S>
    : unknown;

/** What the handler of function `N` returns. */
export type ResultInput<A extends App, N extends keyof PartOf<A, "functions">> =
  PartOf<A, "functions">[N] extends { readonly result: infer S } ? InputOf<S>
    : unknown;

/** What a caller of function `N` gets. */
export type ResultOf<A extends App, N extends keyof PartOf<A, "functions">> =
  PartOf<A, "functions">[N] extends { readonly result: infer S } ? OutputOf<S>
    : unknown;

/** What a caller gives to mutator `N`. */
export type MutatorInput<A extends App, N extends keyof PartOf<A, "mutators">> =
  PartOf<A, "mutators">[N] extends { readonly args?: infer S }
    ? InputOf<NonNullable<S>>
    : unknown;

/** The store that mutator `N` is for, as the contract names it. */
export type MutatorStore<A extends App, N extends keyof PartOf<A, "mutators">> =
  PartOf<A, "mutators">[N] extends { readonly store: infer S } ? S : never;

/** What is given to emit event `N`. */
export type EventInput<A extends App, N extends keyof PartOf<A, "events">> =
  InputOf<PartOf<A, "events">[N]>;

/** What a listener of event `N` gets. */
export type EventOf<A extends App, N extends keyof PartOf<A, "events">> =
  OutputOf<PartOf<A, "events">[N]>;

/** What clients tell of themselves in rooms. */
export type PresenceOf<A extends App> = OutputOf<PartOf<A, "presence">>;

/** Arguments, which may be left out where they may be undefined, and options. */
export type ArgsAndOptions<Args, Options> = undefined extends Args
  ? [args?: Args, options?: Options]
  : [args: Args, options?: Options];
