/** The element with that id; the page and its script are built together. */
export function byId<E extends HTMLElement>(id: string, type: new () => E): E {
  const element = document.getElementById(id);
  if (!(element instanceof type)) {
    throw new TypeError(`Cannot find <${type.name}> with id "${id}"`);
  }
  return element;
}

/** One fact of a card: its label and value; `id` names the value for tests. */
export interface Fact {
  readonly id: string;
  readonly label: string;
  readonly value: number | undefined;
}

/** Shows facts in a list; only what changed is touched. */
export function showFacts(list: HTMLElement, facts: readonly Fact[]): void {
  for (const { id, label, value } of facts) {
    let cell = list.querySelector(`[data-testid="${id}"]`);
    if (cell === null) {
      const group = document.createElement("div");
      const term = document.createElement("dt");
      term.textContent = label;
      cell = document.createElement("dd");
      cell.setAttribute("data-testid", id);
      group.append(term, cell);
      list.append(group);
    }
    const text = value?.toLocaleString("en") ?? "–";
    if (cell.textContent !== text) cell.textContent = text;
  }
}

/** `1 change`, `2 changes`. */
export function plural(count: number, noun: string): string {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}
