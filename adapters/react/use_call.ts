/**
 * A hook that calls functions. This module is browser compatible.
 *
 * @module
 */
import type { CallOptions } from "../../client/mod.ts";
import { useBinding } from "./provider.ts";
import { useInsertionEffect, useMemo, useRef, useState } from "./react.ts";

/** How a function is called by {@linkcode useCall}. */
export interface UseCallOptions {
  /**
   * What a call will make of stores, by name, as far as can be told: given the state and
   * the arguments, each returns the next state. It shows until the answer is there.
   */
  readonly optimistic?:
    | Readonly<Record<string, (state: never, args: never) => unknown>>
    | undefined;
}

/** A function of the server, and what became of its last call. */
export interface CallView<Args extends readonly unknown[], R> {
  /** Whether the last call has no answer yet. */
  readonly isPending: boolean;
  /** What the last call that was answered gave; undefined after one that failed. */
  readonly data: R | undefined;
  /** Why the last call failed, if it has. */
  readonly error: Error | undefined;
  /**
   * Calls it; the same function in each render. Nobody has to handle the promise: a
   * failure shows as `error`. Calls before it go on, and show nothing any more.
   */
  readonly run: (...args: Args) => Promise<R>;
  /** Forgets what is shown; the same function in each render. */
  readonly reset: () => void;
}

/** What became of the last call. */
interface Outcome<R> {
  readonly isPending: boolean;
  readonly data: R | undefined;
  readonly error: Error | undefined;
}

const NONE = { isPending: false, data: undefined, error: undefined };

/**
 * Calls a function of the server when `run` is called, and shows what became of it.
 *
 * - Of calls that overlap, the last one shows, whichever is answered first.
 * - A call goes on when the component is taken off the page.
 *
 * @example A form that shows that it waits, and why it failed
 * ```tsx
 * import { useCall } from "@headwater/sync/react";
 *
 * export function AddTodo() {
 *   const { run, isPending, error } = useCall("todos.add");
 *   return (
 *     <form action={(form) => void run({ text: form.get("text") })}>
 *       <input name="text" disabled={isPending} />
 *       {error && <p>{error.message}</p>}
 *     </form>
 *   );
 * }
 * ```
 */
export function useCall<R = unknown>(
  name: string,
  options: UseCallOptions = {},
): CallView<[args?: unknown, options?: CallOptions], R> {
  const binding = useBinding("useCall");
  const last = useRef(options);
  useInsertionEffect(() => {
    last.current = options;
  });
  const calls = useRef(0);
  const [shown, setShown] = useState<{ name: string; outcome: Outcome<R> }>({
    name,
    outcome: NONE,
  });
  const actions = useMemo(() => {
    const show = (call: number, outcome: Outcome<R>) => {
      if (call === calls.current) setShown({ name, outcome });
    };
    return {
      run(args?: unknown, given?: CallOptions): Promise<R> {
        const call = ++calls.current;
        setShown((before) => ({
          name,
          outcome: {
            isPending: true,
            data: before.name === name ? before.outcome.data : undefined,
            error: undefined,
          },
        }));
        const { optimistic } = last.current;
        const answer = binding.client().call<R>(name, args, {
          ...(optimistic && { optimistic: guessesOf(optimistic, args) }),
          ...given,
        });
        binding.tell();
        answer.then(
          (data) => show(call, { isPending: false, data, error: undefined }),
          (error) =>
            show(call, {
              isPending: false,
              data: undefined,
              error: toError(error),
            }),
        );
        return answer;
      },
      reset(): void {
        calls.current++;
        setShown({ name, outcome: NONE });
      },
    };
  }, [binding, name]);
  const { isPending, data, error } = shown.name === name ? shown.outcome : NONE;
  return { isPending, data, error, ...actions };
}

function guessesOf(
  optimistic: NonNullable<UseCallOptions["optimistic"]>,
  args: unknown,
): Record<string, (state: never) => unknown> {
  const guesses = Object.entries(optimistic).map(([store, guess]) =>
    // The arguments' shape is what the author of the guess has named.
    [store, (state: never) => guess(state, args as never)] as const
  );
  return Object.fromEntries(guesses);
}

/** What an aborted signal rejects with may be anything. */
function toError(error: unknown): Error {
  return error instanceof Error
    ? error
    : new Error(String(error), { cause: error });
}
