import type { Board, Card, Column } from "../contract.ts";
import { CardView } from "./card_view.ts";
import { dragCards, type Place } from "./drag.ts";
import { arrange, byId, create } from "../../elements.ts";
import { placeByKey } from "./keys.ts";
import { glide } from "./motion.ts";

/** What a person does on the board. */
export interface BoardActions {
  add(column: string, text: string): void;
  /** `before` is the card that it is put in front of; null for the end of the column. */
  move(id: string, to: string, before: string | null): void;
  rename(id: string, text: string): void;
  remove(id: string): void;
}

/** Shows a board. Its elements are kept by id, so that focus survives what others change. */
export class BoardView {
  readonly #element: HTMLElement;
  readonly #actions: BoardActions;
  readonly #columns = new Map<string, ColumnView>();
  readonly #cards = new Map<string, CardView>();
  #board: Board = { columns: [] };

  constructor(element: HTMLElement, actions: BoardActions) {
    this.#element = element;
    this.#actions = actions;
    dragCards(element, {
      onDrop: (id, place) => this.#move(id, place),
      onCancel: () => this.show(this.#board),
    });
    element.addEventListener("keydown", (event) => this.#onKey(event));
  }

  /** Shows `board`; cards that are not the same in `saved` are marked as waiting. */
  show(board: Board, saved = board): void {
    this.#board = board;
    const focused = document.activeElement;
    const settle = glide([...this.#cards.values()].map((card) => card.element));
    const places = placesOf(saved);
    for (const column of board.columns) {
      const view = keep(
        this.#columns,
        column.id,
        () => this.#newColumn(column),
      );
      const cards = column.cards.map((card) => {
        const view = keep(this.#cards, card.id, () => this.#newCard(card));
        view.show(card, places.get(card.id) !== `${column.id} ${card.text}`);
        return view.element;
      });
      view.show(column, cards);
    }
    this.#forgetCards(placesOf(board));
    arrange(
      this.#element,
      board.columns.flatMap(({ id }) => this.#columns.get(id)?.element ?? []),
    );
    if (focused instanceof HTMLElement && focused.isConnected) focused.focus();
    settle();
  }

  #move(id: string, { column, before }: Place): void {
    this.#actions.move(id, column, before);
    const to = this.#board.columns.find(({ id }) => id === column);
    if (!to) return;
    const index = to.cards.findIndex((card) => card.id === id);
    byId("spoken").textContent = `Moved to ${to.title}, ${
      index + 1
    } of ${to.cards.length}`;
  }

  #onKey(event: KeyboardEvent): void {
    const { target } = event;
    const id = target instanceof HTMLElement ? target.dataset.card : undefined;
    if (id === undefined) return; // a field or a button inside of a card
    const place = placeByKey(this.#board, id, event.key);
    if (event.key === "Delete") this.#actions.remove(id);
    else if (event.key === "Enter") this.#cards.get(id)?.edit();
    else if (place && event.shiftKey) this.#move(id, place.move);
    else if (place?.focus) this.#cards.get(place.focus)?.element.focus();
    else return;
    event.preventDefault();
  }

  #newCard({ id }: Card): CardView {
    return new CardView(id, {
      rename: (text) => this.#actions.rename(id, text),
      remove: () => this.#actions.remove(id),
    });
  }

  #newColumn({ id, title }: Column): ColumnView {
    return new ColumnView(id, {
      title,
      add: (text) => this.#actions.add(id, text),
    });
  }

  #forgetCards(present: ReadonlyMap<string, string>): void {
    for (const [id, card] of this.#cards) {
      if (present.has(id)) continue;
      card.remove();
      this.#cards.delete(id);
    }
  }
}

class ColumnView {
  readonly element: HTMLElement;
  readonly #count = create("span", { className: "count" });
  readonly #list = create("ul", { className: "cards" });

  constructor(
    id: string,
    { title, add }: { title: string; add: (text: string) => void },
  ) {
    const input = create("input", {
      placeholder: "Add a card",
      ariaLabel: `Add a card to ${title}`,
      maxLength: 200,
      autocomplete: "off",
    });
    const form = create("form", {}, input);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (input.value.trim() !== "") add(input.value);
      input.value = "";
    });
    const heading = create("h2", {}, title, this.#count);
    this.element = create("section", {}, heading, this.#list, form);
    this.element.dataset.column = id;
    this.#list.ariaLabel = title;
  }

  show(column: Column, cards: readonly Element[]): void {
    this.#count.textContent = String(column.cards.length);
    arrange(this.#list, cards);
  }
}

/** Where each card is and what it says, by its id. */
function placesOf({ columns }: Board): Map<string, string> {
  return new Map(
    columns.flatMap(({ id: column, cards }) =>
      cards.map(({ id, text }) => [id, `${column} ${text}`] as const)
    ),
  );
}

function keep<V>(map: Map<string, V>, key: string, make: () => V): V {
  const value = map.get(key) ?? make();
  map.set(key, value);
  return value;
}
