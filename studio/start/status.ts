import type { ClientStatus } from "../../client/mod.ts";
import { byId } from "./page.ts";

const STATUS_TEXT: Readonly<Record<ClientStatus, string>> = {
  idle: "Not connected",
  connecting: "Connecting",
  connected: "Connected",
  reconnecting: "Reconnecting",
  closed: "Disconnected",
};

/** The connection state on top, and the notice that says what it means for what you do. */
export class StatusBar {
  readonly #status = byId("status", HTMLElement);
  readonly #text = byId("status-text", HTMLElement);
  readonly #unacked = byId("unacked", HTMLElement);
  readonly #notice = byId("notice", HTMLElement);
  #error: string | undefined;

  /** Shows the status and how many writes the server has not acknowledged. */
  show(status: ClientStatus, unackedCount: number): void {
    this.#status.dataset.state = status;
    this.#setText(this.#text, STATUS_TEXT[status]);
    this.#setText(
      this.#unacked,
      unackedCount === 0 ? "" : `${unackedCount.toLocaleString("en")} waiting`,
    );
    this.#notice.dataset.kind = this.#error === undefined ? "away" : "error";
    this.#setText(this.#notice, this.#error ?? awayText(status));
  }

  /** Keeps a failed write on show until the next one succeeds. */
  setError(message: string | undefined): void {
    this.#error = message;
  }

  /** A live region is read out again at each assignment, so only a change is one. */
  #setText(element: HTMLElement, text: string): void {
    if (element.textContent !== text) element.textContent = text;
  }
}

function awayText(status: ClientStatus): string {
  if (status === "closed") {
    return "The server has refused this page. Reload it to try again.";
  }
  if (status !== "reconnecting") return "";
  const cause = navigator.onLine
    ? "The server does not answer."
    : "This device is offline.";
  return `${cause} What you do here is kept and arrives once it is back.`;
}
