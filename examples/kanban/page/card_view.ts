import type { Card } from "../contract.ts";
import { create } from "../../elements.ts";
import { appear } from "./motion.ts";

/** What a person does to one card. */
export interface CardActions {
  rename(text: string): void;
  remove(): void;
}

/** One card: its text, a grip for fingers, a button to remove it, and a field while it is edited. */
export class CardView {
  readonly element: HTMLLIElement;
  readonly #text = create("span", { className: "text" });
  readonly #remove: HTMLButtonElement;
  readonly #actions: CardActions;
  #isEdited = false;

  constructor(id: string, actions: CardActions) {
    this.#actions = actions;
    this.#remove = create("button", { type: "button", className: "remove" });
    this.#remove.addEventListener("click", () => actions.remove());
    const grip = create("span", { className: "grip", ariaHidden: "true" });
    this.element = create(
      "li",
      { tabIndex: 0 },
      grip,
      this.#text,
      this.#remove,
    );
    this.element.className = "card";
    this.element.dataset.card = id;
    this.element.ariaRoleDescription = "Movable card";
    this.element.setAttribute("aria-describedby", "keys");
    this.element.addEventListener("dblclick", () => this.edit());
    appear(this.element);
  }

  /** Shows the card; `isWaiting` if the server does not have it like this yet. */
  show({ text }: Card, isWaiting: boolean): void {
    this.#text.textContent = text;
    this.#remove.ariaLabel = `Remove ${text}`;
    this.element.classList.toggle("waiting", isWaiting);
  }

  /** Turns the text into a field, until Enter, Escape, or a click elsewhere. */
  edit(): void {
    if (this.#isEdited) return;
    this.#isEdited = true;
    const before = this.#text.textContent ?? "";
    const field = create("textarea", {
      value: before,
      ariaLabel: "Text of the card",
      maxLength: 200,
      rows: 2,
    });
    const end = (text: string) => {
      if (!this.#isEdited) return;
      this.#isEdited = false;
      const hadFocus = document.activeElement === field;
      field.replaceWith(this.#text);
      if (hadFocus) this.element.focus();
      if (text !== "" && text !== before) this.#actions.rename(text);
    };
    field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") end(before);
      if (event.key !== "Enter" || event.shiftKey) return;
      event.preventDefault(); // else a new line is typed
      end(field.value.trim());
    });
    // In a moment: an element must not be replaced while the browser takes its focus.
    field.addEventListener(
      "blur",
      () => queueMicrotask(() => end(field.value.trim())),
    );
    this.#text.replaceWith(field);
    field.select();
  }

  /** Removes the card; focus goes to the one beside it. */
  remove(): void {
    const { element } = this;
    const hadFocus = element.contains(document.activeElement);
    const next = element.nextElementSibling ?? element.previousElementSibling;
    element.remove();
    if (hadFocus && next instanceof HTMLElement) next.focus();
  }
}
