/**
 * What all strands have in common: a strand makes one write after the other, and
 * each is accounted for, and looked for in what the client shows.
 *
 * @module
 */
import type { Account } from "./account.ts";
import type { Answer, Items, Padded, Recent } from "./app.ts";
import type { TortureClient } from "./torture_client.ts";

/** What strands work with. */
export interface StrandContext {
  readonly client: TortureClient;
  readonly account: Account;
  readonly random: () => number;
  /** Begins the names of everything that this client makes. */
  readonly name: string;
}

/** One strand: `step` makes one write; after it comes a pause of up to `pauseMs`. */
export interface Strand {
  readonly pauseMs: number;
  readonly step: () => Promise<void>;
}

/** Makes a write and accounts for it; undefined where there is no answer. */
export async function write(
  context: StrandContext,
  name: string,
  args: { readonly label: string; readonly [field: string]: unknown },
): Promise<Answer | undefined> {
  const { account, client } = context;
  const { label } = args;
  // What a client follows at the call, it is shown with the answer.
  const followed = new Set(
    [...client.handles].filter(([, handle]) => handle.hasData())
      .map(([store]) => store),
  );
  const outcome = await client.call(name, args);
  if (outcome.name === "answered") {
    take(context, label, outcome.answer, followed);
    return outcome.answer;
  }
  if (outcome.name === "refused") {
    account.breach("wrong", `"${name}" of ${label} was refused`);
  } else if (outcome.name === "unknown") {
    account.unknown.push(label);
  } else {
    account.refused.push(label);
  }
  return undefined;
}

/** Accounts for an answer, and looks for its writes in the stores that were `followed`. */
export function take(
  { account, client }: StrandContext,
  label: string,
  answer: Answer,
  followed: ReadonlySet<string> = new Set(),
): void {
  account.ack(label, answer.call, answer.writes);
  for (const { store, value } of answer.writes) {
    const handle = client.handles.get(store);
    if (!handle || !followed.has(store) || value === undefined) continue;
    if (!shows(handle.getState(), label, value)) {
      account.breach(
        "wrong",
        `${store} at ${handle.version} does not show ${label} with its answer`,
      );
    }
  }
}

/** Whether a state shows a write that gave `value`. */
function shows(
  state: unknown,
  label: string,
  value: number | [string, number],
): boolean {
  // The states are what the application of the torture makes.
  const { items, counts, n } = state as Partial<
    Items & Recent & Padded
  >;
  const index = Array.isArray(value) ? value[1] : value;
  if (items) return items[index - 1] === label;
  if (n !== undefined) return n >= index;
  return Object.values(counts ?? {}).some((count) => count >= index);
}

/** Makes labels that nobody else makes. */
export function labels({ name }: StrandContext, kind: string): () => string {
  let n = 0;
  return () => `${name}${kind}.${++n}`;
}
