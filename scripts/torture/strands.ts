/**
 * What a client does, and the strands that write where others do, too.
 *
 * @module
 */
import { padStrand, recentStrand, roomStrand } from "./owned_strands.ts";
import {
  labels,
  type Strand,
  type StrandContext,
  take,
  write,
} from "./strand.ts";

/** The stores that every client follows. */
export const FOLLOWED: readonly string[] = [
  "Ledger",
  "Left",
  "Right",
  "Slate",
  "Ticker",
  "Recent",
];

/** All strands of one client. */
export function strandsOf(context: StrandContext): Strand[] {
  return [
    ...[0, 1].map((n) =>
      addStrand({ ...context, name: `${context.name}a${n}` })
    ),
    pairStrand(context),
    slateStrand(context),
    sharedRoomStrand(context),
    roomStrand(context),
    recentStrand(context),
    refusedStrand(context),
    onceStrand(context),
    padStrand(context, {
      key: context.name,
      from: 70_000,
      to: 250_000,
      pauseMs: 80,
    }),
  ];
}

/** Adds labels, one after the other. */
export function addStrand(context: StrandContext): Strand {
  const next = labels(context, "a");
  return {
    pauseMs: 12,
    step: async () => {
      await write(context, "add", { label: next() });
    },
  };
}

function pairStrand(context: StrandContext): Strand {
  const next = labels(context, "p");
  return {
    pauseMs: 16,
    step: async () => {
      const together = context.random() < 0.5;
      await write(context, "pair", { label: next(), together });
    },
  };
}

function slateStrand(context: StrandContext): Strand {
  const next = labels(context, "s");
  return {
    pauseMs: 30,
    step: async () => {
      const at = context.random();
      const how = at < 0.4 ? "set" : at < 0.8 ? "mark" : "reset";
      const answer = await write(context, "slate", { label: next(), how });
      const version = answer?.writes[0]?.version ?? 0;
      const handle = context.client.handles.get("Slate");
      if (handle && (handle.version ?? 0) < version) {
        context.account.breach(
          "wrong",
          `Slate is shown at ${handle.version} with the answer of ${version}`,
        );
      }
    },
  };
}

/** Writes to a room that others delete meanwhile. */
function sharedRoomStrand(context: StrandContext): Strand {
  const next = labels(context, "h");
  return {
    pauseMs: 25,
    step: async () => {
      const how = context.random() < 0.85 ? "say" : "drop";
      await write(context, "room", { key: "shared", label: next(), how });
    },
  };
}

function onceStrand(context: StrandContext): Strand {
  const next = labels(context, "o");
  return {
    pauseMs: 40,
    step: async () => {
      const answer = await write(context, "once", { label: next() });
      if (answer?.token === undefined) return;
      const { call, token } = answer;
      context.account.answers.push({ call, token });
    },
  };
}

function refusedStrand(context: StrandContext): Strand {
  const next = labels(context, "r");
  const hows = ["handler", "recipe", "late", "maybe"];
  return {
    pauseMs: 40,
    step: async () => {
      const { client, account, random } = context;
      const label = next();
      const how = hows[Math.floor(random() * hows.length)];
      const outcome = await client.call("refuse", { label, how });
      if (outcome.name === "answered") {
        take(context, label, outcome.answer);
        if (how !== "maybe") account.breach("wrong", `${how} was not refused`);
      } else if (outcome.name === "unknown") {
        account.unknown.push(label);
      } else if (outcome.name === "refused" && how === "late") {
        account.present.push(label);
      } else {
        account.refused.push(label);
      }
    },
  };
}
