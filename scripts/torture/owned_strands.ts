/**
 * Strands that alone write to what is theirs, so that they know what every
 * answer must be.
 *
 * @module
 */
import { type Account, type Count, countUp } from "./account.ts";
import { labels, type Strand, type StrandContext, write } from "./strand.ts";

/** Name of the store of medium large entries of a client. */
export function paddedName(name: string): string {
  return `Padded:${name}`;
}

/** Writes entries that do not fit into one atomic operation. */
export function hugeStrand(context: StrandContext): Strand {
  return padStrand(context, {
    key: "huge",
    from: 720_000,
    to: 900_000,
    pauseMs: 200,
  });
}

/** Fills a room, and deletes it now and then. */
export function roomStrand(context: StrandContext): Strand {
  const { account, client, random } = context;
  const next = labels(context, "d");
  let generation = 0;
  let key = `${context.name}.0`;
  account.rooms.set(`Room:${key}`, []);
  return {
    pauseMs: 20,
    step: async () => {
      const at = random();
      const how = at < 0.7
        ? "say"
        : at < 0.8
        ? "drop"
        : at < 0.9
        ? "turn"
        : "cycle";
      const name = `Room:${key}`;
      // Its subscription ends with it.
      if (how !== "say") client.unsubscribe(name);
      const label = next();
      const answer = await write(context, "room", { key, label, how });
      if (!answer) {
        // Nobody knows what is in it: it is left alone from here on.
        account.rooms.delete(name);
        client.unsubscribe(name);
        key = `${context.name}.${++generation}`;
        account.rooms.set(`Room:${key}`, []);
        return;
      }
      const items = how === "say" ? account.rooms.get(name) ?? [] : [];
      if (how !== "drop") {
        items.push(label);
        const [write] = answer.writes;
        const index = Array.isArray(write?.value) ? write.value[1] : 0;
        if (index !== items.length) {
          account.breach(
            index < items.length ? "lost" : "twice",
            `"${how}" of ${label} made ${name} ${index} long, not ${items.length}`,
          );
        }
        client.subscribe(name);
      }
      account.rooms.set(name, items);
    },
  };
}

/** Counts in a store whose log is trimmed. */
export function recentStrand(context: StrandContext): Strand {
  const next = labels(context, "n");
  const strand = context.name;
  const count = counter(context.account, { store: "Recent", strand });
  return {
    pauseMs: 16,
    step: async () => {
      const label = next();
      const answer = await write(context, "recent", { strand, label });
      count(answer?.writes[0]?.value, label);
    },
  };
}

/** Replaces a large text, and counts how often. */
export function padStrand(
  context: StrandContext,
  { key, from, to, pauseMs }: {
    key: string;
    from: number;
    to: number;
    pauseMs: number;
  },
): Strand {
  const next = labels(context, `w${key}`);
  const count = counter(context.account, { store: paddedName(key) });
  return {
    pauseMs,
    step: async () => {
      const label = next();
      const bytes = Math.floor(from + context.random() * (to - from));
      const answer = await write(context, "pad", { key, label, bytes });
      count(answer?.writes[0]?.value, label);
    },
  };
}

/** Takes what the writes of a strand gave, and compares each with the one before. */
function counter(
  account: Account,
  of: Pick<Count, "store" | "strand">,
): (value: unknown, label: string) => void {
  const count: Count = { ...of, least: 0, most: 0 };
  account.counts.push(count);
  return (value, label) => {
    if (typeof value !== "number") {
      count.most += 1;
      return;
    }
    const { least } = count;
    const kind = countUp(count, value);
    if (kind) {
      account.breach(
        kind,
        `${label} counted ${of.store} from ${least} to ${value}`,
      );
    }
  };
}
