/**
 * Compares what clients show with what the file holds.
 *
 * @module
 */
import { isDeepStrictEqual } from "node:util";
import type { Account } from "./account.ts";
import type { CheckedStore } from "./check.ts";
import { TortureClient, type TortureClientOptions } from "./torture_client.ts";
import { delay } from "./waiting.ts";

/** How long a client may take to have the newest state. */
const EQUAL_MS = 20_000;
const LOOK_MS = 20;

/** What is compared. */
export interface Comparison {
  readonly account: Account;
  /** What the file holds. */
  readonly stores: Readonly<Record<string, CheckedStore>>;
  /** Clients that lived through the kills. */
  readonly survivors: readonly TortureClient[];
  /** Servers to which newcomers go, one to each. */
  readonly ports: readonly number[];
}

/** Lets a newcomer look at every server, and compares it, and all others, with the file. */
export async function compareClients(
  { account, stores, survivors, ports }: Comparison,
): Promise<void> {
  const traffic = { resumes: 0, snapshots: 0, resent: 0 };
  for (const port of ports) {
    const options: TortureClientOptions = {
      account,
      traffic,
      port: () => port,
    };
    using newcomer = new TortureClient(options);
    for (const name of Object.keys(stores)) newcomer.subscribe(name);
    await compare(newcomer, "A newcomer", { account, stores });
  }
  for (const survivor of survivors) {
    await compare(survivor, "A client", { account, stores });
  }
}

async function compare(
  { handles }: TortureClient,
  who: string,
  { account, stores }: Pick<Comparison, "account" | "stores">,
): Promise<void> {
  const followed = [...handles].filter(([name]) => stores[name]);
  const isCurrent = () =>
    followed.every(([name, handle]) =>
      handle.version === versionOf(stores[name])
    );
  const endMs = performance.now() + EQUAL_MS;
  while (!isCurrent() && performance.now() < endMs) await delay(LOOK_MS);
  for (const [name, handle] of followed) {
    const version = versionOf(stores[name]);
    if (handle.version !== version) {
      account.breach(
        "wrong",
        `${who} stays at version ${handle.version} of ${name}, not ${version}`,
      );
    } else if (!isDeepStrictEqual(handle.getState(), stores[name]?.state)) {
      account.breach("wrong", `${who} has another state of ${name} ${version}`);
    }
  }
}

/** The version that a store has once somebody looks at it. */
function versionOf(store: CheckedStore | undefined): number | undefined {
  return store && store.version + (store.initialized ? 0 : 1);
}
