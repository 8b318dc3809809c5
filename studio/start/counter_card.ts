import { byId, plural } from "./page.ts";

/** The shared number, and the clicks of this tab that the server has not taken yet. */
export class CounterCard {
  readonly #count = byId("count", HTMLOutputElement);
  readonly #waiting = byId("counter-waiting", HTMLElement);
  readonly #card = byId("counter", HTMLElement);

  /** Calls `add` with 1 or −1 on each click. */
  constructor(add: (by: number) => void) {
    byId("counter-plus", HTMLButtonElement).addEventListener(
      "click",
      () => add(1),
    );
    byId("counter-minus", HTMLButtonElement).addEventListener(
      "click",
      () => add(-1),
    );
    this.#count.addEventListener(
      "animationend",
      () => this.#count.classList.remove("changed"),
    );
  }

  /** Shows the count that the server has. */
  show(count: number): void {
    const text = count.toLocaleString("en").replace("-", "−");
    if (this.#count.textContent === text) return;
    if (this.#card.dataset.ready === "true") {
      this.#count.classList.add("changed");
    }
    this.#card.dataset.ready = "true";
    this.#count.textContent = text;
    this.#count.toggleAttribute("data-long", text.length > 5);
    document.title = `${text} · Headwater`;
  }

  /** Shows what is on its way: the clicks that wait and their sum. */
  showWaiting(clicks: readonly number[]): void {
    const sum = clicks.reduce((total, by) => total + by, 0);
    const signed = `${sum < 0 ? "−" : "+"}${Math.abs(sum)}`;
    this.#waiting.textContent = clicks.length === 0
      ? ""
      : `${plural(clicks.length, "click")} waiting: ${signed}`;
  }
}
