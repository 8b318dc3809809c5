/**
 * A live poll, complete in one file: a store, a function and a page.
 *
 * - Here: `deno serve -A --unstable-kv main.ts`, with `--parallel` on every core; the
 *   votes are in `.headwater/`.
 * - On Deno Deploy: this file is the entry point, and the app has a database of Deno KV.
 *   Its instances, wherever they run, show the same votes.
 *
 * Either way a `deno.json` lies beside it, which `deno add jsr:@headwater/sync` makes.
 *
 * @module
 */
import { createServer, HeadwaterError } from "@headwater/sync/server";
import { serve } from "@headwater/sync/serve";

const DISHES = ["Pizza", "Noodles", "Salad"];

const page = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Live poll</title>
<link rel="icon" href="data:,">
<style>
  :root {
    color-scheme: light dark;
    font: 1.1rem/1.4 ui-sans-serif, system-ui, sans-serif;
    color: light-dark(#12242b, #e6eef1);
    background: light-dark(#fff, #10181c);
  }
  main { max-width: 30rem; margin: 12vh auto 0; padding: 0 1.25rem; }
  h1 { font-size: 1.8rem; letter-spacing: -0.02em; }
  button {
    --bar: light-dark(#cfe8ef, #14414f);
    display: flex; justify-content: space-between; width: 100%;
    margin-bottom: 0.7rem; padding: 0.9rem 1.1rem; font: inherit; color: inherit;
    border: 1px solid light-dark(#dbe4e7, #26343a); border-radius: 0.7rem;
    background: linear-gradient(var(--bar), var(--bar)) 0 / 0 no-repeat;
    transition: background-size 0.3s; cursor: pointer;
  }
  p { color: light-dark(#51666e, #9db0b7); }
</style>
<main>
  <h1>What do we have for lunch?</h1>
  ${DISHES.map((dish) => `<button>${dish} <b>0</b></button>`).join("\n  ")}
  <p role="status">Connecting …</p>
</main>
<script type="module">
  import { createClient } from "https://esm.sh/jsr/@headwater/sync@0.1.0/client";

  const client = createClient(location.origin);
  const status = document.querySelector("[role=status]");
  client.on("connected", () => status.textContent = "Live: open a second tab");
  client.on("reconnecting", () => status.textContent = "Connecting again …");

  const buttons = [...document.querySelectorAll("button")];
  client.subscribe("Poll", ({ votes }) => {
    const total = votes.reduce((sum, count) => sum + count, 0) || 1;
    buttons.forEach((button, dish) => {
      button.lastChild.textContent = votes[dish];
      button.style.backgroundSize = 100 * votes[dish] / total + "% 100%";
    });
  });
  buttons.forEach((button, dish) => {
    const optimistic = ({ votes }) => ({ votes: votes.with(dish, votes[dish] + 1) });
    button.onclick = () => client.call("vote", { dish }, { store: "Poll", optimistic });
  });
</script>
`;

const server = createServer({
  pages: { "/": { body: page, type: "text/html; charset=utf-8" } },
});
const poll = server.createStore("Poll", { votes: DISHES.map(() => 0) });

server.handle("vote", async ({ dish }: { dish: number }) => {
  if (!Number.isInteger(dish) || !DISHES[dish]) {
    throw new HeadwaterError("bad_value", "No such dish");
  }
  await poll.update(({ votes }) => void votes[dish]!++); // there is one
});

export default serve(server);
