/**
 * What the server and the page of the board agree on.
 *
 * @module
 */
import { defineApp } from "@headwater/sync/client";
import * as z from "zod";

const text = z.string().trim().min(1).max(200);
const card = z.object({ id: z.string(), text });
const column = z.object({
  id: z.string(),
  title: text,
  cards: z.array(card).max(100),
});
const board = z.object({ columns: z.array(column) })
  .refine(holdsCardsOnce, "Every card must be on the board once");

/** State of the store "Board". */
export type Board = z.infer<typeof board>;
/** One column of the board, its cards from top to bottom. */
export type Column = z.infer<typeof column>;
/** One card. */
export type Card = z.infer<typeof card>;

/** Stores and mutators, for `createServer({ app })` and `createClient(url, { app })`. */
export const app = defineApp({
  stores: {
    Board: {
      schema: board,
      initial: {
        columns: [
          {
            id: "todo",
            title: "To do",
            cards: [
              { id: "drag", text: "Drag me to another column" },
              {
                id: "keys",
                text: "Or focus me, and press Shift with an arrow",
              },
              { id: "offline", text: "Stop the server, and go on working" },
            ],
          },
          {
            id: "doing",
            title: "Doing",
            cards: [{ id: "tabs", text: "Open a second tab beside this one" }],
          },
          { id: "done", title: "Done", cards: [] },
        ],
      },
    },
  },
  mutators: {
    addCard: {
      store: "Board",
      args: z.object({ column: z.string(), text }),
      run(board, { column, text }, ctx) {
        columnOf(board, column).cards.push({ id: ctx.id(), text });
      },
    },
    /** Puts a card in front of another one, or at the end of a column. */
    moveCard: {
      store: "Board",
      args: z.object({
        id: z.string(),
        to: z.string(),
        before: z.string().nullable(),
      }),
      run(board, { id, to, before }) {
        const { cards } = columnOf(board, to);
        const card = takeCard(board, id);
        const index = cards.findIndex((other) => other.id === before);
        cards.splice(index < 0 ? cards.length : index, 0, card);
      },
    },
    removeCard: {
      store: "Board",
      args: z.object({ id: z.string() }),
      run: (board, { id }) => void takeCard(board, id),
    },
  },
});

/** The card with that id, wherever it is now. */
export function findCard(board: Board, id: string): Card | undefined {
  return board.columns.flatMap(({ cards }) => cards)
    .find((card) => card.id === id);
}

function columnOf(board: Board, id: string): Column {
  const column = board.columns.find((column) => column.id === id);
  if (!column) throw new Error(`There is no column "${id}"`);
  return column;
}

function takeCard({ columns }: Board, id: string): Card {
  for (const { cards } of columns) {
    const index = cards.findIndex((card) => card.id === id);
    const [card] = index < 0 ? [] : cards.splice(index, 1);
    if (card) return { ...card };
  }
  throw new Error("Somebody else has removed the card");
}

function holdsCardsOnce({ columns }: { columns: Column[] }): boolean {
  const ids = columns.flatMap(({ cards }) => cards.map(({ id }) => id));
  return new Set(ids).size === ids.length;
}
