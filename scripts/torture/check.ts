/**
 * Compares a KV file with what was promised to clients, by the reader that the
 * servers use. Nobody else may have the file open.
 *
 * @module
 */
import { isDeepStrictEqual } from "node:util";
import { answerKey } from "../../server/log/keys.ts";
import { applyPatch } from "../../protocol/patch.ts";
import type { Json } from "../../protocol/value.ts";
import { Sweeper } from "../../server/log/blobs.ts";
import {
  listHeads,
  readSince,
  type ReadStore,
  readStore,
} from "../../server/log/reader.ts";
import type { Head } from "../../server/log/head.ts";
import type { LogEntry } from "../../server/log/log_entry.ts";
import type { Mutation } from "../../server/log/mutation.ts";
import { decodeRecord } from "../../server/log/record.ts";
import type { Kv } from "../../server/ports.ts";
import type { AccountData, Breach, BreachKind } from "./account.ts";
import { findLeftovers } from "./leftovers.ts";
import { checkStates, type UnknownFigures } from "./check_states.ts";

/** The one namespace that there is. */
export const NAMESPACE = "default";

/** One store, as the file has it. */
export interface CheckedStore {
  readonly epoch: string;
  readonly version: number;
  readonly state: Json;
  /** False after a reset, until the store is used again: that makes one more version. */
  readonly initialized: boolean;
}

/** What a check found. */
export interface CheckReport {
  readonly breaches: readonly Breach[];
  readonly stores: Readonly<Record<string, CheckedStore>>;
  readonly unknown: UnknownFigures;
}

/** Says that a promise was broken. */
export type Report = (kind: BreachKind, text: string) => void;

/** Checks the whole file. */
export async function checkFile(
  kv: Kv,
  account: AccountData,
): Promise<CheckReport> {
  const breaches: Breach[] = [];
  const report: Report = (kind, text) => void breaches.push({ kind, text });
  const before = await readAll(kv, report);
  for (const [name, read] of before) {
    await checkLog(kv, { name, read, account, report });
  }
  const stores = Object.fromEntries(
    [...before].map(([name, { head, state }]) => [
      name,
      toChecked(head, state),
    ]),
  );
  const unknown = checkStates(stores, account, report);
  await checkAnswers(kv, account, report);
  await checkSweep(kv, before, report);
  return { breaches, stores, unknown };
}

function toChecked(
  { epoch, version, initialized }: Head,
  state: Json,
): CheckedStore {
  return { epoch, version, state, initialized };
}

async function readAll(
  kv: Kv,
  report: Report,
): Promise<Map<string, ReadStore>> {
  const stores = new Map<string, ReadStore>();
  for await (const { name } of listHeads(kv, NAMESPACE)) {
    try {
      const read = await readStore(kv, { namespace: NAMESPACE, name });
      if (read) stores.set(name, read);
    } catch (error) {
      report("lost", `${name} cannot be read: ${error}`);
    }
  }
  return stores;
}

/** The log above the floor: dense, each write once, and each as it was acknowledged. */
async function checkLog(
  kv: Kv,
  { name, read, account, report }: {
    name: string;
    read: ReadStore;
    account: AccountData;
    report: Report;
  },
): Promise<void> {
  const { head, stamp, state } = read;
  const known = account.epochs[name];
  if (known !== undefined && known !== head.epoch) {
    report("lost", `${name} has begun another life, and nobody deleted it`);
  }
  let entries: LogEntry[] | undefined;
  try {
    const id = { namespace: NAMESPACE, name };
    entries = await readSince(kv, id, { head, stamp }, head.floor);
  } catch (error) {
    return report("lost", `The log of ${name} cannot be read: ${error}`);
  }
  const mutations = new Map<number, Mutation>();
  const seen = new Map<string, number>();
  let replayed: Json = null;
  for (const { from, mutations: made } of entries ?? []) {
    for (const [index, mutation] of made.entries()) {
      const version = from + index + 1;
      mutations.set(version, mutation);
      if (head.floor === 0) {
        replayed = applyPatch(replayed, mutation.patch, { freeze: false });
      }
      const { origin } = mutation;
      if (!origin) continue;
      const number = `${origin.session}.${origin.call}/${origin.n}`;
      const first = seen.get(number);
      if (first !== undefined) {
        report(
          "twice",
          `${name} has write ${number} at ${first} and ${version}`,
        );
      }
      seen.set(number, version);
    }
  }
  if (head.floor === 0 && !isDeepStrictEqual(replayed, state)) {
    report("wrong", `The whole log of ${name} does not give its state`);
  }
  const rows = account.acked.filter(({ store }) => store === name);
  for (const { label, call, n, version, value } of rows) {
    // Rooms have several lives, whose versions are alike.
    const isHere = !Array.isArray(value) ||
      value[0] === (state as { life?: string }).life; // as the application made it
    if (!call || !isHere) continue;
    const found = seen.get(`${call}/${n}`);
    if (found === undefined) {
      if (head.floor === 0 || (version ?? 0) > head.floor) {
        report("lost", `${name} does not have ${label}, call ${call}`);
      }
    } else if (version !== undefined && version !== found) {
      report("lost", `${name} has ${label} at ${found}, not at ${version}`);
    } else if (!isDeepStrictEqual(mutations.get(found)?.value, value)) {
      report("lost", `${name} has another value of ${label} than was answered`);
    }
  }
}

async function checkAnswers(
  kv: Kv,
  { answers }: AccountData,
  report: Report,
): Promise<void> {
  for (const { call, token } of answers) {
    const at = call.lastIndexOf(".");
    const number = Number(call.slice(at + 1));
    const { value } = await kv.get(
      answerKey(NAMESPACE, call.slice(0, at), number),
    );
    const answer = value === null
      ? undefined
      : decodeRecord(value, "answer")["v"] as { token?: string }; // as the function gave it
    if (answer?.token !== token) {
      report(
        "lost",
        `The answer of call ${call} is not recorded as it was given`,
      );
    }
  }
}

/** Sweeps as a server does long after, and looks at what is left, and that nothing else went. */
async function checkSweep(
  kv: Kv,
  before: ReadonlyMap<string, ReadStore>,
  report: Report,
): Promise<void> {
  const sweeper = new Sweeper(kv, () => performance.now(), 0);
  await sweeper.sweep()
    .catch((error) => report("wrong", `The sweep failed: ${error}`));
  for await (const key of findLeftovers(kv)) {
    report("wrong", `Left over after a sweep: ${key.slice(1).join(" ")}`);
  }
  const after = await readAll(kv, report);
  for (const [name, { state, head }] of before) {
    const now = after.get(name);
    if (
      now?.head.version !== head.version || !isDeepStrictEqual(now.state, state)
    ) {
      report("lost", `The sweep changed ${name}`);
    }
  }
}
