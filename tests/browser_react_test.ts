/** The scenarios of React in Chromium; `react_*_test.ts` have them in jsdom. */
import assert from "node:assert/strict";
import type { Page } from "playwright-core";
import { bundlePage } from "../examples/serve_page.ts";
import { browserTest, launchChromium } from "./_chromium.ts";
import { initialStates, render, RENDERERS } from "./_react_html.ts";
import { startReactServer } from "./_react_server.ts";
import type { ReactPage } from "./data/react_page/main.ts";

const FOLDER = new URL("./data/react_page/", import.meta.url);

/** A browser, and the page with the scenarios. */
async function openPage(): Promise<{ page: Page } & AsyncDisposable> {
  await using owned = new AsyncDisposableStack();
  const files = await bundlePage(FOLDER, { isDevelopment: true });
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    (request) => {
      const file = files[new URL(request.url).pathname];
      if (!file) return new Response(null, { status: 404 });
      const headers = { "content-type": file.type };
      return new Response(file.body, { headers });
    },
  );
  owned.defer(() => server.shutdown());
  const browser = await launchChromium();
  owned.defer(() => browser.close());
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${server.addr.port}/`);
  const moved = owned.move();
  return { page, [Symbol.asyncDispose]: () => moved.disposeAsync() };
}

/** Runs something with what the page offers as the global `page`. */
function inPage<R>(
  page: Page,
  run: (page: ReactPage, given: never) => R,
  given?: unknown,
): Promise<Awaited<R>> {
  // Its source goes to the browser.
  return page.evaluate(`(${run})(page, ${JSON.stringify(given)})`) as Promise<
    Awaited<R>
  >;
}

Deno.test({
  ...browserTest(),
  name: "react in Chromium: every scenario",
  async fn(test) {
    await using opened = await openPage();
    const { page } = opened;
    const names = await inPage(page, ({ names }) => names);
    assert.ok(names.length > 20);
    for (const name of names) {
      await test.step(name, async () => {
        await using server = await startReactServer();
        await inPage(
          page,
          (page, { name, url }: { name: string; url: string }) =>
            page.play(name, url),
          { name, url: server.url },
        );
      });
    }
  },
});

Deno.test({
  ...browserTest(),
  name: "react in Chromium: takes over what a server has rendered",
  async fn(test) {
    await using opened = await openPage();
    for (const renderer of Object.keys(RENDERERS)) {
      for (const name of ["takeOver", "makeUp"]) {
        await test.step(`${name} after ${renderer}()`, async () => {
          await using server = await startReactServer();
          const states = await initialStates(server, {
            isComplete: name === "takeOver",
          });
          const html = await render(server, {
            states,
            renderer: renderer as keyof typeof RENDERERS, // its own keys
          });
          await inPage(
            opened.page,
            (
              page,
              { name, given }: {
                name: string;
                given: Parameters<ReactPage["hydrate"]>[1];
              },
            ) => page.hydrate(name, given),
            { name, given: { url: server.url, html, states } },
          );
        });
      }
    }
  },
});
