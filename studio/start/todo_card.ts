import type { Todo } from "./app.ts";
import { byId, plural } from "./page.ts";

const CROSS =
  '<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M6 6l12 12M18 6L6 18" /></svg>';

/** What a person does with the list. */
export interface TodoActions {
  add(text: string): void;
  toggle(id: string): void;
  remove(id: string): void;
}

interface Row {
  readonly item: HTMLLIElement;
  readonly box: HTMLInputElement;
  readonly text: HTMLSpanElement;
  readonly remove: HTMLButtonElement;
}

/** A change of this tab that the server has not taken yet: a new text, or the id of an item. */
export interface WaitingChange {
  readonly text?: string;
  readonly id?: string;
}

/** The shared list. Rows are kept by id, so that focus survives what others change. */
export class TodoCard {
  readonly #actions: TodoActions;
  readonly #list = byId("todo-list", HTMLUListElement);
  readonly #ghosts = byId("todo-ghosts", HTMLUListElement);
  readonly #empty = byId("todo-empty", HTMLElement);
  readonly #waiting = byId("todos-waiting", HTMLElement);
  readonly #input = byId("todo-text", HTMLInputElement);
  readonly #card = byId("todos", HTMLElement);
  readonly #rows = new Map<string, Row>();

  /** Reports to `actions` what a person does. */
  constructor(actions: TodoActions) {
    this.#actions = actions;
    byId("todo-form", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      const text = this.#input.value.trim();
      if (text !== "") actions.add(text);
      this.#input.value = "";
      this.#input.focus();
    });
  }

  /** Shows the items that the server has, and marks those that are about to change. */
  show(items: readonly Todo[], waiting: readonly WaitingChange[]): void {
    this.#card.dataset.ready = "true";
    const present = new Set(items.map((todo) => todo.id));
    for (const id of [...this.#rows.keys()]) {
      if (!present.has(id)) this.#removeRow(id);
    }
    for (const [index, todo] of items.entries()) {
      const row = this.#rows.get(todo.id) ?? this.#addRow(todo.id);
      row.text.textContent = todo.text;
      row.box.checked = todo.done;
      row.item.classList.toggle("done", todo.done);
      row.item.classList.toggle(
        "waiting-row",
        waiting.some(({ id }) => id === todo.id),
      );
      row.remove.setAttribute("aria-label", `Remove ${todo.text}`);
      const current = this.#list.children[index];
      if (current !== row.item) {
        this.#list.insertBefore(row.item, current ?? null);
      }
    }
    this.#empty.textContent =
      "Nothing to do yet. What you add here shows up in every tab.";
    this.#empty.hidden = items.length > 0;
  }

  /** Shows what is on its way. */
  showWaiting(waiting: readonly WaitingChange[]): void {
    const texts = waiting.flatMap(({ text }) =>
      text === undefined ? [] : [text]
    );
    this.#ghosts.replaceChildren(...texts.map(ghostRow));
    if (texts.length > 0) this.#empty.hidden = true;
    this.#waiting.textContent = waiting.length === 0
      ? ""
      : `${plural(waiting.length, "change")} waiting`;
  }

  #addRow(id: string): Row {
    const item = document.createElement("li");
    const label = document.createElement("label");
    const box = document.createElement("input");
    const text = document.createElement("span");
    const remove = document.createElement("button");
    box.type = "checkbox";
    box.addEventListener("change", () => {
      // The list shows what the server has; the box follows when the change comes back.
      box.checked = !box.checked;
      this.#actions.toggle(id);
    });
    remove.type = "button";
    remove.innerHTML = CROSS;
    remove.addEventListener("click", () => this.#actions.remove(id));
    label.append(box, text);
    item.append(label, remove);
    const row = { item, box, text, remove };
    this.#rows.set(id, row);
    return row;
  }

  #removeRow(id: string): void {
    const row = this.#rows.get(id);
    this.#rows.delete(id);
    if (row === undefined) return;
    const hadFocus = row.item.contains(document.activeElement);
    const neighbour = row.item.nextElementSibling ??
      row.item.previousElementSibling;
    row.item.remove();
    if (hadFocus) (neighbour?.querySelector("button") ?? this.#input).focus();
  }
}

/** An item that the server does not have yet: it cannot be ticked or removed. */
function ghostRow(text: string): HTMLLIElement {
  const item = document.createElement("li");
  const label = document.createElement("label");
  const box = document.createElement("input");
  const words = document.createElement("span");
  box.type = "checkbox";
  box.disabled = true;
  words.textContent = text;
  label.append(box, words);
  item.append(label);
  item.className = "waiting-row";
  return item;
}
