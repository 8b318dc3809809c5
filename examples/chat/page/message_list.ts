import { arrange, create } from "../../elements.ts";
import type { Message } from "../contract.ts";

/** Messages of one person that follow within this time are shown as one block. */
const BLOCK_MS = 5 * 60 * 1_000;
/** Whoever has scrolled up further than this is reading, and is left there. */
const BOTTOM_PX = 80;

const TIME = new Intl.DateTimeFormat("en", { timeStyle: "short" });

/** The messages of a room, and between them notes such as "Ada has joined". */
export class MessageList {
  readonly #list: HTMLElement;
  readonly #me: string;
  readonly #rows = new Map<string, HTMLElement>();
  /** Each with the id of the message that it came after. */
  #notes: { after: string | undefined; row: HTMLElement }[] = [];
  #messages: readonly Message[] = [];

  constructor(list: HTMLElement, me: string) {
    this.#list = list;
    this.#me = me;
  }

  /** Shows messages; those that are not among `saved` are on their way. */
  show(messages: readonly Message[], saved: ReadonlySet<string>): void {
    const { scrollHeight, scrollTop, clientHeight } = this.#list;
    const isAtEnd = scrollHeight - scrollTop - clientHeight < BOTTOM_PX;
    this.#messages = messages;
    const rows = messages.flatMap((message, index) => {
      const row = this.#rows.get(message.id) ?? this.#newRow(message);
      row.classList.toggle("waiting", !saved.has(message.id));
      row.classList.toggle("first", isFirst(message, messages[index - 1]));
      return [row, ...this.#notesAfter(message.id)];
    });
    const all = [...this.#notesAfter(undefined), ...rows];
    arrange(this.#list, all);
    while (this.#list.children.length > all.length) {
      this.#list.lastElementChild?.remove();
    }
    if (isAtEnd) this.#list.scrollTop = this.#list.scrollHeight;
  }

  /** Adds a note below what is there. */
  note(text: string): void {
    const row = create("li", { className: "note" }, text);
    this.#notes.push({ after: this.#messages.at(-1)?.id, row });
    this.#list.append(row);
    row.scrollIntoView({ block: "nearest" });
  }

  /** Begins anew, for another room. */
  clear(): void {
    this.#rows.clear();
    this.#notes = [];
    this.#messages = [];
    this.#list.replaceChildren();
  }

  #notesAfter(id: string | undefined): HTMLElement[] {
    return this.#notes.filter(({ after }) => after === id)
      .map(({ row }) => row);
  }

  #newRow({ id, from, text, atMs }: Message): HTMLElement {
    const date = new Date(atMs);
    const row = create(
      "li",
      { className: from === this.#me ? "mine" : "" },
      create(
        "span",
        { className: "avatar", ariaHidden: "true" },
        initial(from),
      ),
      create(
        "p",
        { className: "about" },
        create("b", {}, from),
        " ",
        create("time", { dateTime: date.toISOString() }, TIME.format(date)),
      ),
      create("p", { className: "text" }, text),
    );
    row.style.setProperty("--hue", String(hueOf(from)));
    this.#rows.set(id, row);
    return row;
  }
}

function isFirst(message: Message, before: Message | undefined): boolean {
  return before?.from !== message.from ||
    message.atMs - before.atMs > BLOCK_MS;
}

function initial(name: string): string {
  return [...name][0]?.toUpperCase() ?? "";
}

/** A person's colour. */
function hueOf(name: string): number {
  return [...name].reduce(
    (hue, letter) => (hue * 31 + (letter.codePointAt(0) ?? 0)) % 360,
    7,
  );
}
