/**
 * Compares draft libraries under what `runRecipe` does on top: find the changes,
 * copy their values, apply them. Run it with
 * `NODE_ENV=production deno run -A scripts/bench/draft_libraries.ts`, as immer
 * takes its build from there.
 *
 * @module
 */
import { enablePatches, Immer } from "immer";
// @ts-types="mutative"
import { create } from "mutative/dist/mutative.esm.production.min.mjs";
import { diffStates } from "../../protocol/diff.ts";
import { applyPatch, type Patch } from "../../protocol/patch.ts";
import { encodePatch } from "../../protocol/patch_codec.ts";
import { cleanValue, freezeDeep, type Json } from "../../protocol/value.ts";

interface Item {
  id: string;
  text: string;
  n: number;
  done: boolean;
}

interface State {
  title: string;
  items: Item[];
}

type Recipe = (draft: State) => void;

/** One way from a state and a recipe to a new state and a patch. */
interface Way {
  readonly name: string;
  readonly run: (state: State, recipe: Recipe) => { state: Json; patch: Patch };
}

const ROUNDS = 7;
const ROUND_MS = 150;

enablePatches();
const immer = new Immer({ autoFreeze: false });

const asJson = (state: State) => state as unknown as Json; // an interface has no index signature

function byDiff(state: State, after: State): { state: Json; patch: Patch } {
  const patch = diffStates(asJson(state), after);
  return {
    state: applyPatch(asJson(state), patch, { freeze: Object.isFrozen(state) }),
    patch,
  };
}

/** A library's own patches, cleaned and applied. */
function byPatches(
  state: State,
  own: readonly unknown[],
): { state: Json; patch: Patch } {
  // Both have the shape of ours, but for the lengths of arrays.
  const patch = (own as Patch).map((op) =>
    "value" in op ? { ...op, value: cleanValue(op.value) } : op
  );
  return {
    state: applyPatch(asJson(state), patch, { freeze: Object.isFrozen(state) }),
    patch,
  };
}

const WAYS: readonly Way[] = [
  {
    name: "mutative + diff",
    run: (state, recipe) => byDiff(state, create(state, recipe) as State),
  },
  {
    name: "immer + diff",
    run: (state, recipe) => byDiff(state, immer.produce(state, recipe)),
  },
  {
    name: "mutative's patches",
    run(state, recipe) {
      const enablePatches = { pathAsArray: true, arrayLengthAssignment: false };
      return byPatches(state, create(state, recipe, { enablePatches })[1]);
    },
  },
  {
    name: "immer's patches",
    run: (state, recipe) =>
      byPatches(state, immer.produceWithPatches(state, recipe)[1]),
  },
];

const SCENARIOS: readonly { name: string; items: number; recipe: Recipe }[] = [
  {
    name: "field, small",
    items: 20,
    recipe: (draft) => void (draft.items[10]!.done = true),
  },
  {
    name: "push, small",
    items: 20,
    recipe: (draft) => void draft.items.push(newItem()),
  },
  {
    name: "field, 10,000",
    items: 10_000,
    recipe: (draft) => void (draft.items[5_000]!.done = true),
  },
  {
    name: "push, 10,000",
    items: 10_000,
    recipe: (draft) => void draft.items.push(newItem()),
  },
  {
    name: "unshift, 10,000",
    items: 10_000,
    recipe: (draft) => void draft.items.unshift(newItem()),
  },
  {
    name: "splice out, 10,000",
    items: 10_000,
    recipe: (draft) => void draft.items.splice(5_000, 1),
  },
];

function newItem(): Item {
  return {
    id: "new",
    text: "a new item with a short text in it",
    n: 0,
    done: false,
  };
}

function makeState(items: number): State {
  return {
    title: "Items",
    items: Array.from({ length: items }, (_, n) => ({
      id: `item-${n}`,
      text: `the text of item ${n}, which goes on for a bit`,
      n,
      done: false,
    })),
  };
}

/** Microseconds of one run, over as many as fit into a round. */
function measure(way: Way, state: State, recipe: Recipe): number {
  const start = performance.now();
  let runs = 0;
  let elapsedMs: number;
  do {
    for (let batch = 0; batch < 4; batch++) way.run(state, recipe);
    runs += 4;
    elapsedMs = performance.now() - start;
  } while (elapsedMs < ROUND_MS);
  return elapsedMs * 1_000 / runs;
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]!;
}

function patchText(way: Way, state: State, recipe: Recipe): string {
  try {
    const { patch } = way.run(state, recipe);
    return `${patch.length} / ${JSON.stringify(encodePatch(patch)).length} B`;
  } catch (error) {
    return `refused: ${error instanceof Error ? error.message : error}`;
  }
}

function measureScenarios(isFrozen: boolean): void {
  console.log(
    `\nState ${isFrozen ? "frozen" : "not frozen"}; microseconds, ratio to ${
      WAYS[0]!.name
    }, patch\n`,
  );
  for (const { name, items, recipe } of SCENARIOS) {
    const state = isFrozen ? freezeDeep(makeState(items)) : makeState(items);
    console.log(
      `${name} (${Math.round(JSON.stringify(state).length / 1_000)} KB)`,
    );
    const texts = WAYS.map((way) => patchText(way, state, recipe));
    const working = WAYS.filter((_, at) => !texts[at]!.startsWith("refused"));
    const times = new Map<Way, number[]>(working.map((way) => [way, []]));
    for (let round = 0; round <= ROUNDS; round++) {
      for (const way of working) {
        const time = measure(way, state, recipe);
        if (round > 0) times.get(way)!.push(time); // the first warms up
      }
    }
    const base = median(times.get(WAYS[0]!)!);
    WAYS.forEach((way, at) => {
      const known = times.get(way);
      const time = known ? median(known) : NaN;
      const cells = [
        time.toFixed(1).padStart(10),
        (time / base).toFixed(2).padStart(7),
      ];
      console.log(
        `  ${way.name.padEnd(20)}${
          known ? cells.join(" ") : " ".repeat(18)
        }   ${texts[at]}`,
      );
    });
  }
}

console.log(
  `deno ${Deno.version.deno}, ${navigator.hardwareConcurrency} cores, medians of ${ROUNDS} rounds`,
);
for (const isFrozen of [false, true]) measureScenarios(isFrozen);
