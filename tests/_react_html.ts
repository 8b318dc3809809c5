/**
 * What servers make of the scenarios' page.
 *
 * @module
 */
import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import type { ReactNode } from "react";
import {
  renderToPipeableStream,
  renderToReadableStream,
  renderToString,
} from "react-dom/server";
import { serverPage, type States } from "./data/react_page/server_page.tsx";
import type { ReactServer } from "./_react_server.ts";

/** The ways in which React renders on a server; each takes what was thrown. */
export const RENDERERS = {
  renderToString: (node: ReactNode) => Promise.resolve(renderToString(node)),
  async renderToReadableStream(node: ReactNode, fail: (_: unknown) => void) {
    const stream = await renderToReadableStream(node, { onError: fail });
    await stream.allReady;
    return await new Response(stream).text();
  },
  renderToPipeableStream(node: ReactNode, fail: (_: unknown) => void) {
    const { pipe } = renderToPipeableStream(node, { onError: fail });
    return text(pipe(new PassThrough()));
  },
};

/** How a server renders. */
export type Renderer = keyof typeof RENDERERS;

/** The states that a page begins with: all, or without the one that it cannot do without. */
export async function initialStates(
  { server }: ReactServer,
  { isComplete }: { isComplete: boolean },
): Promise<States> {
  const counter = server.store("Counter");
  await counter?.update((draft) => void (draft.a = 1));
  return {
    Counter: await counter?.get() ?? { a: 0, b: 0, text: "" },
    ...(isComplete && { "Room:1": { messages: ["Hello"] } }),
  };
}

/** Renders the page; `errors` gets what was thrown. */
export function render(
  { url }: Pick<ReactServer, "url">,
  { states, renderer, errors = [] }: {
    states: States;
    renderer: Renderer;
    errors?: unknown[];
  },
): Promise<string> {
  return RENDERERS[renderer](
    serverPage(url, states),
    (error) => void errors.push(error),
  );
}
