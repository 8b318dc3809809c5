/**
 * The page of the chat: signs a person in, then shows the rooms.
 *
 * @module
 */
import { createClient } from "@headwater/sync/client";
import { byId } from "../../elements.ts";
import { app } from "../contract.ts";
import { startChat } from "./chat.ts";

const url = location.origin.replace(/^http/, "ws");

byId("leave").addEventListener("click", () => {
  sessionStorage.removeItem("name");
  location.reload();
});

/** Each tab has a name of its own, so that one browser can be two people. */
for (let name = sessionStorage.getItem("name"), reason = "";;) {
  const token = name ?? await askName(reason);
  const client = createClient(url, { app, token });
  try {
    await client.ready();
    sessionStorage.setItem("name", token);
    startChat(client);
    break;
  } catch (error) {
    client.destroy();
    name = null;
    reason = error instanceof Error ? error.message : String(error);
  }
}

/** Asks for a name; `reason` says what was wrong with the last. */
function askName(reason: string): Promise<string> {
  const dialog = byId<HTMLDialogElement>("sign-in");
  byId("reason").textContent = reason;
  // Escape does not sign anybody in.
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  dialog.showModal();
  return new Promise((resolve) =>
    dialog.addEventListener(
      "close",
      () => resolve(byId<HTMLInputElement>("name").value),
      { once: true },
    )
  );
}
