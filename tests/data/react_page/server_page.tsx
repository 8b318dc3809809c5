/**
 * A page that a server renders and a browser takes over.
 *
 * @module
 */
import { type ReactNode, StrictMode, Suspense } from "react";
import {
  createHooks,
  type HeadwaterProviderProps,
} from "../../../adapters/react/mod.ts";
import type { app } from "./app.ts";
import { equal, type Stage } from "./stage.tsx";

type App = typeof app;

const {
  HeadwaterProvider,
  useCall,
  useClient,
  useEvent,
  useMutation,
  useStatus,
  useStore,
  useStoreData,
  useUpdate,
} = createHooks<App>();

/** What server and browser both begin with. */
export type States = NonNullable<HeadwaterProviderProps<App>["initialStates"]>;

function Counter() {
  const { data, isPending } = useStore("Counter", ({ a }) => a);
  return <p>{isPending ? "waiting" : `${useStatus()} ${data}`}</p>;
}

function Room({ name }: { name: string }) {
  const messages = useStoreData(`Room:${name}`, (room) => room.messages);
  return <p>{messages.join() || "silence"}</p>;
}

/** Every hook, as it is on a server. */
function Rest() {
  const client = useClient();
  useUpdate("Counter");
  useMutation("say");
  useEvent("toast", () => {});
  return <p>{`${useCall("add").isPending} ${client.unackedCount}`}</p>;
}

/** The page. */
export function serverPage(url: string, initialStates: States): ReactNode {
  return (
    <StrictMode>
      <HeadwaterProvider url={url} initialStates={initialStates}>
        <Counter />
        <Suspense fallback={<p>One moment</p>}>
          <Room name="1" />
        </Suspense>
        <Rest />
      </HeadwaterProvider>
    </StrictMode>
  );
}

/** Takes over what the server has rendered with all states. */
export async function takeOver(
  stage: Stage,
  html: string,
  states: States,
): Promise<void> {
  stage.container.innerHTML = html;
  const [counter, room] = stage.container.querySelectorAll("p");
  const seen: string[] = [];
  const observer = new document.defaultView!.MutationObserver(() => {
    seen.push(stage.text);
  });
  observer.observe(stage.container, {
    subtree: true,
    characterData: true,
    childList: true,
  });
  stage.hydrate(serverPage(stage.url, states));
  await stage.until(() => stage.text.startsWith("connected 1"));
  await stage.other.call("add", { key: "a", by: 1 });
  await stage.until(() => stage.text.startsWith("connected 2"));
  observer.disconnect();
  // The same elements, and never back to where there was nothing yet.
  const [sameCounter, sameRoom] = stage.container.querySelectorAll("p");
  equal([counter === sameCounter, room === sameRoom], [true, true]);
  equal(seen.filter((text) => /waiting|moment|undefined/.test(text)), []);
  await stage.counts({ Counter: 1, room: 1, open: 1, opened: 1 });
}

/** Takes over what the server could not render, for the lack of a state. */
export async function makeUp(
  stage: Stage,
  html: string,
  states: States,
): Promise<void> {
  stage.container.innerHTML = html;
  const [counter] = stage.container.querySelectorAll("p");
  stage.hydrate(serverPage(stage.url, states));
  await stage.until(() =>
    stage.text.startsWith("connected 1") && stage.text.includes("silence")
  );
  equal(counter === stage.container.querySelector("p"), true);
  // React says that the browser had to do it.
  equal(stage.faults.length, 1);
  equal(/initialStates|server/.test(stage.faults[0] ?? ""), true);
  stage.faults.length = 0;
}
