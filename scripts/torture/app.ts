/**
 * The application of the torture: stores of every size and life, and functions
 * that answer with what was written where, so that it can be looked for.
 *
 * @module
 */
import type { Server, StaticStore } from "../../server/mod.ts";

/** Stores that keep one label for each write. */
export interface Items {
  items: string[];
}

/** A store of "Room:*"; each life has its own name. */
export interface Room extends Items {
  life: string;
}

/** A store whose entries are large: only the last write is kept, and how many there were. */
export interface Padded {
  n: number;
  label: string;
  pad: string;
}

/** A store whose log is trimmed: how often each strand wrote, and the last labels. */
export interface Recent {
  counts: { [strand: string]: number };
  ring: { [slot: string]: { label: string; pad: string } };
}

/** A store that is set, changed and reset. */
export interface Slate {
  label: string;
  marks: string[];
}

/** Where a write of a call went. */
export interface WrittenRow {
  readonly store: string;
  /** Which of the call's writes to that store it was. */
  readonly n: number;
  readonly version?: number;
  /** What the recipe returned. */
  readonly value?: number | [string, number];
}

/** What a function answers. */
export interface Answer {
  /** The call's id, by which the log knows its writes. */
  readonly call: string;
  readonly writes: readonly WrittenRow[];
  /** Made anew by each run of the handler. */
  readonly token?: string;
}

/** In the message of every refusal that was asked for. */
export const AGREED = "as agreed";

/** Nothing is ever trimmed: every write can be looked up. */
const WHOLE = { versions: 1e9, ageMs: 1e15, bytes: 1e15 };
/** Nearly everything is trimmed. */
const SHORT = { versions: 3 };
const RING = 16;

/** The pad of a label. */
export function padOf(label: string, bytes: number): string {
  return label.repeat(Math.ceil(bytes / label.length)).slice(0, bytes);
}

/** Gives a server the stores and functions; returns the store of its own updates. */
export function defineTorture(server: Server): StaticStore<Items> {
  const none = (): Items => ({ items: [] });
  const ledger = server.createStore("Ledger", none(), { history: WHOLE });
  const left = server.createStore("Left", none(), { history: WHOLE });
  const right = server.createStore("Right", none(), { history: WHOLE });
  const ticker = server.createStore("Ticker", none(), { history: WHOLE });
  defineSlate(server);
  defineRooms(server);
  definePadded(server);
  server.handle(
    "pair",
    async (
      { label, together }: { label: string; together: boolean },
      { callId: call },
    ): Promise<Answer> => {
      const writes = together
        ? await Promise.all([push(left, label), push(right, label)])
        : [await push(left, label), await push(right, label)];
      return { call, writes };
    },
  );
  server.handle(
    "add",
    async (
      { label }: { label: string },
      { callId: call },
    ): Promise<Answer> => ({ call, writes: [await push(ledger, label)] }),
  );
  server.handle(
    "once",
    async (
      { label }: { label: string },
      { callId: call },
    ): Promise<Answer> => {
      const writes = [await push(ledger, label)];
      server.emit("once", label);
      return { call, writes, token: crypto.randomUUID() };
    },
    { once: true },
  );
  server.handle(
    "refuse",
    async (
      { label, how }: { label: string; how: string },
      { callId: call },
    ): Promise<Answer> => {
      if (how === "handler") throw new Error(`Handler refuses ${AGREED}`);
      const { value, version } = await ledger.update((draft) => {
        const isEven = draft.items.length % 2 === 0;
        draft.items.push(label);
        // Run again on another state, it would not be refused.
        if (how === "recipe" || (how === "maybe" && isEven)) {
          throw new Error(`Recipe refuses ${AGREED}`);
        }
        return draft.items.length;
      });
      if (how === "late") throw new Error(`Written, and refused ${AGREED}`);
      return { call, writes: [{ store: "Ledger", n: 0, value, version }] };
    },
  );
  return ticker;
}

async function push(
  store: StaticStore<Items>,
  label: string,
): Promise<WrittenRow> {
  const { value, version } = await store.update((draft) => {
    draft.items.push(label);
    return draft.items.length;
  });
  return { store: store.name, n: 0, value, version };
}

function defineSlate(server: Server): void {
  const slate = server.createStore<Slate>("Slate", { label: "", marks: [] }, {
    history: WHOLE,
  });
  server.handle(
    "slate",
    async (
      { label, how }: { label: string; how: string },
      { callId: call },
    ): Promise<Answer> => {
      const row = { store: "Slate", n: 0 };
      if (how === "reset") {
        await slate.reset();
        return { call, writes: [row] };
      }
      const { version } = how === "set"
        ? await slate.set({ label, marks: [label] })
        : await slate.update((draft) => void draft.marks.push(label));
      return { call, writes: [{ ...row, version }] };
    },
  );
}

function defineRooms(server: Server): void {
  const rooms = server.createStore<Room>("Room:*", { life: "", items: [] })
    .onCreate(() => ({ life: crypto.randomUUID() }));
  const say = async (
    key: string,
    label: string,
    n: number,
  ): Promise<WrittenRow> => {
    const { value, version } = await rooms.update(key, (draft) => {
      draft.items.push(label);
      const written: [string, number] = [draft.life, draft.items.length];
      return written;
    });
    return { store: rooms.nameOf(key), n, value, version };
  };
  server.handle(
    "room",
    async (
      { key, label, how }: { key: string; label: string; how: string },
      { callId: call },
    ): Promise<Answer> => {
      if (how === "say") return { call, writes: [await say(key, label, 0)] };
      const isCycle = how === "cycle";
      if (isCycle) await say(key, `${label}.gone`, 0);
      await rooms.delete(key);
      if (how === "drop") return { call, writes: [] };
      return { call, writes: [await say(key, label, isCycle ? 2 : 1)] };
    },
  );
}

function definePadded(server: Server): void {
  const initial: Padded = { n: 0, label: "", pad: "" };
  const padded = server.createStore("Padded:*", initial, { history: SHORT });
  const recent = server.createStore<Recent>("Recent", {
    counts: {},
    ring: {},
  }, { history: SHORT });
  server.handle(
    "pad",
    async (
      { key, label, bytes }: { key: string; label: string; bytes: number },
      { callId: call },
    ): Promise<Answer> => {
      const { value, version } = await padded.update(key, (draft) => {
        draft.n += 1;
        draft.label = label;
        draft.pad = padOf(label, bytes);
        return draft.n;
      });
      const store = padded.nameOf(key);
      return { call, writes: [{ store, n: 0, value, version }] };
    },
  );
  server.handle(
    "recent",
    async (
      { strand, label }: { strand: string; label: string },
      { callId: call },
    ): Promise<Answer> => {
      const { value, version } = await recent.update((draft) => {
        const count = (draft.counts[strand] ?? 0) + 1;
        draft.counts[strand] = count;
        const pad = padOf(label, 3_000);
        draft.ring[`${strand}.${count % RING}`] = { label, pad };
        return count;
      });
      return { call, writes: [{ store: "Recent", n: 0, value, version }] };
    },
  );
}
