import "./_react_dom.ts";
import { startReactServer } from "./_react_server.ts";

const { play } = await import("./data/react_page/stage.tsx");
const scenarios = await import("./data/react_page/call_scenarios.tsx");

for (const [name, scenario] of Object.entries(scenarios)) {
  Deno.test(`react in jsdom: ${name}`, async () => {
    await using server = await startReactServer();
    await play(scenario, server.url);
  });
}
