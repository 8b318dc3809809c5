import assert from "node:assert/strict";
import {
  initialStates,
  render,
  type Renderer,
  RENDERERS,
} from "./_react_html.ts";
import { startReactServer } from "./_react_server.ts";

const names = Object.keys(RENDERERS) as Renderer[]; // its own keys

for (const renderer of names) {
  Deno.test(`react on a server: ${renderer}() shows the initial states, and connects to nothing`, async () => {
    await using server = await startReactServer();
    const { WebSocket } = globalThis;
    let sockets = 0;
    globalThis.WebSocket = class extends WebSocket {
      constructor(...given: ConstructorParameters<typeof WebSocket>) {
        sockets++;
        super(...given);
      }
    };
    try {
      const states = await initialStates(server, { isComplete: true });
      const errors: unknown[] = [];
      const html = await render(server, { states, renderer, errors });
      assert.deepEqual(errors, []);
      assert.match(
        html,
        /<p>idle 1<\/p>.*<p>Hello<\/p>.*<p>false 0<\/p>/,
      );
      assert.doesNotMatch(html, /waiting|moment/);
    } finally {
      globalThis.WebSocket = WebSocket;
    }
    assert.equal(sockets, 0);
    assert.equal(server.server.store("Counter")?.subscriberCount(), 0);
  });

  Deno.test(`react on a server: ${renderer}() leaves to the browser what lacks its state`, async () => {
    await using server = await startReactServer();
    const states = await initialStates(server, { isComplete: false });
    const errors: unknown[] = [];
    const html = await render(server, { states, renderer, errors });
    assert.match(html, /<p>idle 1<\/p>.*<p>One moment<\/p>/s);
    if (renderer === "renderToString") return; // it tells nobody
    assert.deepEqual(errors.map(String), [
      'Error: Cannot render store "Room:1" on the server: initialStates of the HeadwaterProvider lack it',
    ]);
  });
}
