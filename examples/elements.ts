/**
 * What the pages of the examples do with elements; no framework.
 *
 * @module
 */

/** The element of the page with that id. */
export function byId<E extends HTMLElement = HTMLElement>(id: string): E {
  const element = document.getElementById(id);
  if (!element) throw new TypeError(`There is no element "${id}"`);
  return element as E; // the page and its script are written together
}

/** A new element, with properties and children. */
export function create<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Partial<HTMLElementTagNameMap[K]> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Puts elements in order; those that are in their place are left alone, so that focus stays. */
export function arrange(parent: Element, elements: readonly Element[]): void {
  elements.forEach((element, index) => {
    const present = parent.children[index];
    if (present !== element) parent.insertBefore(element, present ?? null);
  });
}
