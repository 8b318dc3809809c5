import "./_react_dom.ts";
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { startReactServer } from "./_react_server.ts";
import type { States } from "./data/react_page/server_page.tsx";

const { initialStates, RENDERERS } = await import("./_react_html.ts");
const { makeUp, takeOver } = await import("./data/react_page/server_page.tsx");
const { play } = await import("./data/react_page/stage.tsx");

/** What a server makes of the page. */
async function htmlOf(
  given: { url: string; states: States; renderer: string },
): Promise<string> {
  const script = new URL("./servers/react_html.ts", import.meta.url);
  const output = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--no-check",
      fileURLToPath(script),
      JSON.stringify(given),
    ],
    env: { NO_COLOR: "1" },
  }).output();
  const decoder = new TextDecoder();
  assert.ok(output.success, decoder.decode(output.stderr));
  return decoder.decode(output.stdout).trim();
}

for (const renderer of Object.keys(RENDERERS)) {
  for (const scenario of [takeOver, makeUp]) {
    Deno.test(`react in jsdom: ${scenario.name} after ${renderer}()`, async () => {
      await using server = await startReactServer();
      const { url } = server;
      const isComplete = scenario === takeOver;
      const states = await initialStates(server, { isComplete });
      const html = await htmlOf({ url, states, renderer });
      await play(scenario, url, html, states);
    });
  }
}
