/** Where a card is dropped: in front of the card `before`, or at the end of the column. */
export interface Place {
  readonly column: string;
  readonly before: string | null;
}

/** What comes of a drag. */
export interface DragActions {
  onDrop(id: string, place: Place): void;
  onCancel(): void;
}

/** Less is a click. */
const LEAST_PX = 5;

/**
 * Lets mouse, pen and finger drag the cards on `board`. The card itself moves to
 * where it would fall, and a copy of it follows the pointer.
 */
export function dragCards(board: HTMLElement, actions: DragActions): void {
  board.addEventListener("pointerdown", (event) => {
    const target = event.target as HTMLElement; // events of a board have elements
    const card = target.closest<HTMLElement>("[data-card]");
    if (!card || event.button !== 0 || target.closest("button, textarea")) {
      return;
    }
    // A finger that is not on the grip scrolls.
    if (event.pointerType === "touch" && !target.closest(".grip")) return;
    follow(board, { card, from: event }, actions);
  });
}

function follow(
  board: HTMLElement,
  { card, from }: { card: HTMLElement; from: PointerEvent },
  { onDrop, onCancel }: DragActions,
): void {
  const listening = new AbortController();
  const { signal } = listening;
  let copy: HTMLElement | undefined;

  const end = (isDropped: boolean) => {
    listening.abort();
    if (!copy) return;
    copy.remove();
    card.classList.remove("dragged");
    document.body.classList.remove("dragging");
    const place = placeOf(card);
    if (isDropped && place) onDrop(card.dataset.card ?? "", place);
    else onCancel();
  };

  document.addEventListener("pointermove", (event) => {
    const x = event.clientX - from.clientX;
    const y = event.clientY - from.clientY;
    if (!copy && Math.hypot(x, y) < LEAST_PX) return;
    copy ??= lift(card);
    copy.style.translate = `${x}px ${y}px`;
    bring(board, card, event);
  }, { signal });
  document.addEventListener("pointerup", () => end(true), { signal });
  document.addEventListener("pointercancel", () => end(false), { signal });
  document.addEventListener(
    "keydown",
    ({ key }) => key === "Escape" && end(false),
    {
      signal,
    },
  );
}

/** Makes the copy that follows the pointer. */
function lift(card: HTMLElement): HTMLElement {
  const { left, top, width } = card.getBoundingClientRect();
  const copy = card.cloneNode(true) as HTMLElement; // as the card
  copy.classList.add("copy");
  copy.removeAttribute("data-card");
  Object.assign(copy.style, {
    left: `${left}px`,
    top: `${top}px`,
    width: `${width}px`,
  });
  document.body.append(copy);
  document.body.classList.add("dragging");
  card.classList.add("dragged");
  return copy;
}

/** Moves the card to where the pointer is. */
function bring(
  board: HTMLElement,
  card: HTMLElement,
  { clientX, clientY }: PointerEvent,
): void {
  const columns = [...board.querySelectorAll<HTMLElement>("[data-column]")];
  const column = columns.find((column) => {
    const { left, right, top, bottom } = column.getBoundingClientRect();
    return clientX >= left && clientX <= right && clientY >= top &&
      clientY <= bottom;
  });
  const list = column?.querySelector(".cards");
  if (!list) return;
  const others = [...list.children].filter((other) => other !== card);
  const next = others.find((other) => {
    const { top, height } = other.getBoundingClientRect();
    return clientY < top + height / 2;
  });
  const isThere = card.parentElement === list &&
    card.nextElementSibling === (next ?? null);
  if (!isThere) list.insertBefore(card, next ?? null);
}

function placeOf(card: HTMLElement): Place | undefined {
  const column = card.closest<HTMLElement>("[data-column]")?.dataset.column;
  if (column === undefined) return undefined; // somebody has removed it meanwhile
  const next = card.nextElementSibling as HTMLElement | null; // lists hold cards
  return { column, before: next?.dataset.card ?? null };
}
