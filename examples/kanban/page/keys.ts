import type { Board } from "../contract.ts";
import type { Place } from "./drag.ts";

/** What an arrow key leads to: the card that gets the focus, or the place that the card moves to. */
export interface KeyTarget {
  readonly focus: string | undefined;
  readonly move: Place;
}

const STEPS: Readonly<
  Record<string, readonly [columns: number, cards: number]>
> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

/** Where `key` leads from the card `id`; undefined at an edge, and for other keys. */
export function placeByKey(
  { columns }: Board,
  id: string,
  key: string,
): KeyTarget | undefined {
  const [across, down] = STEPS[key] ?? [0, 0];
  const from = columns.findIndex(({ cards }) => cards.some((c) => c.id === id));
  const index = columns[from]?.cards.findIndex((card) => card.id === id) ?? -1;
  const to = columns[from + across];
  const next = index + down;
  if ((across === 0 && down === 0) || !to || next < 0) return undefined;
  if (down !== 0 && next >= to.cards.length) return undefined;
  // Down means behind the next card, so in front of the one after it.
  const before = to.cards[down > 0 ? next + 1 : next]?.id ?? null;
  const focus = to.cards[Math.min(next, to.cards.length - 1)]?.id;
  return { focus, move: { column: to.id, before } };
}
