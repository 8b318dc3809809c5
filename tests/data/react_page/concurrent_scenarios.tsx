/**
 * Scenarios of Suspense, transitions, and what else React does by and by.
 *
 * @module
 */
import {
  Activity,
  startTransition,
  Suspense,
  useDeferredValue,
  useLayoutEffect,
  useState,
} from "react";
import { createHooks } from "../../../adapters/react/mod.ts";
import { createClient } from "../../../client/mod.ts";
import type { app } from "./app.ts";
import { Boundary, equal, HeldTimers, type Stage } from "./stage.tsx";

const {
  HeadwaterProvider,
  useClient,
  useStatus,
  useStore,
  useStoreData,
  useUpdate,
} = createHooks<typeof app>();

function Room({ name }: { name: string }) {
  const count = useStoreData(`Room:${name}`, ({ messages }) => messages.length);
  return <p>{`${name} ${count}`}</p>;
}

/** Suspends while there is no state: within a boundary, one that is above the provider, or none. */
export async function suspense(stage: Stage): Promise<void> {
  stage.render(
    <>
      <HeadwaterProvider url={stage.url}>
        <Suspense fallback="inner ">
          <Room name="slow1" />
        </Suspense>
      </HeadwaterProvider>
      <Suspense fallback="outer ">
        <HeadwaterProvider url={stage.url} fallback="own ">
          <Room name="slow2" />
          <Room name="slow3" />
        </HeadwaterProvider>
      </Suspense>
    </>,
  );
  await stage.shows("inner own ");
  await stage.other.call("release", "slow1");
  await stage.shows("slow1 0own ");
  await stage.other.call("release", "slow2");
  await stage.other.call("release", "slow3");
  await stage.shows("slow1 0slow2 0slow3 0");
  await stage.counts({ room: 3, open: 2, opened: 2 });
  stage.unmount();
  await stage.counts({ room: 0, open: 0, opened: 2 });
}

/** A store that only a component asked for that was never shown, is left in the end. */
export async function abandoned(stage: Stage): Promise<void> {
  const page = (isShown: boolean) => (
    <HeadwaterProvider url={stage.url} fallback="waiting">
      {isShown ? <Room name="slow4" /> : <p>gone</p>}
    </HeadwaterProvider>
  );
  // A minute is not waited for.
  using timers = new HeldTimers(60_000);
  stage.render(page(true));
  await stage.counts({ room: 0, open: 1 }); // it is being made
  stage.render(page(false));
  await stage.shows("gone");
  equal(timers.size, 0);
  await stage.other.call("release", "slow4");
  await stage.until(() => timers.size === 1);
  await stage.counts({ room: 1 });
  timers.run();
  await stage.counts({ room: 0 });
}

/** What the server refuses goes to the error boundary, and is asked for again. */
export async function refused(stage: Stage): Promise<void> {
  const Secret = () => <p>{useStoreData("Secret").word}</p>;
  const client = createClient<typeof app>(stage.url);
  let asked = 0;
  client.on("error", () => asked++);
  using timers = new HeldTimers(1_000);
  stage.render(
    <HeadwaterProvider client={client} fallback="waiting">
      <Boundary>
        <Secret />
      </Boundary>
    </HeadwaterProvider>,
    { isStrict: false },
  );
  await stage.until(() => stage.text.startsWith("Cannot"));
  equal(asked, 1);
  await stage.until(() => timers.size === 1);
  timers.run();
  stage.find("button").click();
  await stage.until(() => asked === 2);
  await stage.until(() => stage.text.startsWith("Cannot"));
  client.destroy();
}

/** In a transition the old store shows until the new one is there. */
export async function transition(stage: Stage): Promise<void> {
  let go = (_: string) => {};
  const Page = () => {
    const [name, setName] = useState("1");
    go = (name) => startTransition(() => setName(name));
    return (
      <Suspense fallback="waiting">
        <Room name={name} />
      </Suspense>
    );
  };
  stage.render(
    <HeadwaterProvider url={stage.url}>
      <Page />
    </HeadwaterProvider>,
  );
  await stage.shows("1 0");
  const seen: string[] = [];
  const observer = new document.defaultView!.MutationObserver(() => {
    seen.push(stage.text);
  });
  observer.observe(stage.container, {
    subtree: true,
    characterData: true,
    childList: true,
  });
  go("slow5");
  // It still follows the old one.
  const one = stage.other.subscribe("Room:1");
  await one.ready();
  await one.update((draft) => void draft.messages.push("a"));
  await stage.shows("1 1");
  await stage.other.call("release", "slow5");
  await stage.shows("slow5 0");
  observer.disconnect();
  equal([...new Set(seen)], ["1 1", "slow5 0"]);
}

/** Components that are rendered by and by all show one state, whatever comes in between. */
export async function tearing(stage: Stage): Promise<void> {
  const client = createClient<typeof app>(stage.url);
  const counter = client.subscribe("Counter");
  await counter.ready();
  // Once a round: what it makes React render again must not write once more.
  let isDue = false;
  const add = () => {
    if (isDue) void counter.update((draft) => void draft.a++);
    isDue = false;
  };
  const seen: number[] = [];
  const commits: string[][] = [];
  const Slow = ({ n }: { n: number }) => {
    const { data = -1 } = useStore("Counter", ({ a }) => a);
    seen.push(data);
    // React goes on with the next ones when this has run.
    if (n === 9) queueMicrotask(add);
    const end = performance.now() + 2;
    while (performance.now() < end);
    return <i>{data}</i>;
  };
  const Page = ({ count }: { count: number }) => {
    // So that there is a state, which no component shows yet.
    useUpdate("Counter");
    useLayoutEffect(() => {
      const shown = [...stage.container.querySelectorAll("i")];
      commits.push(shown.map(({ textContent }) => textContent ?? ""));
    });
    return Array.from({ length: count }, (_, n) => <Slow key={n} n={n} />);
  };
  const show = (count: number) =>
    stage.render(
      <HeadwaterProvider client={client}>
        <Page count={count} />
      </HeadwaterProvider>,
      { isStrict: false },
    );
  show(0);
  await stage.until(() => commits.length > 0);
  for (let round = 0; round < 5; round++) {
    isDue = true;
    startTransition(() => show(20));
    await stage.until(() =>
      stage.container.querySelectorAll("i").length === 20
    );
    show(0);
    await stage.shows("");
  }
  client.destroy();
  // It did come in between.
  const [first] = seen;
  equal(seen.slice(0, 20).every((data) => data === first), false);
  equal(commits.filter((shown) => new Set(shown).size > 1), []);
  equal(commits.filter((shown) => shown.length === 20).length >= 5, true);
}

/** A deferred value comes after the urgent one, and ends up the same. */
export async function deferred(stage: Stage): Promise<void> {
  const seen: string[] = [];
  const Page = () => {
    const { data } = useStore("Counter", ({ a }) => a);
    const later = useDeferredValue(data);
    seen.push(`${data} ${later}`);
    return <p>{`${data} ${later}`}</p>;
  };
  stage.render(
    <HeadwaterProvider url={stage.url}>
      <Page />
    </HeadwaterProvider>,
  );
  await stage.shows("0 0");
  await stage.other.call("add", { key: "a", by: 1 });
  await stage.shows("1 1");
  equal(seen.includes("1 0"), true);
}

/** What is hidden for a while has no connection, and the last state when it comes back. */
export async function activity(stage: Stage): Promise<void> {
  const Count = () => {
    const client = useClient();
    const { data } = useStore("Counter", ({ a }) => a);
    return <p>{`${useStatus() === client.status} ${data}`}</p>;
  };
  const show = (mode: "visible" | "hidden") =>
    stage.render(
      <Activity mode={mode}>
        <HeadwaterProvider url={stage.url}>
          <Count />
        </HeadwaterProvider>
      </Activity>,
    );
  show("visible");
  await stage.shows("true 0");
  await stage.counts({ Counter: 1, open: 1, opened: 1 });
  show("hidden");
  await stage.counts({ Counter: 0, open: 0, opened: 1 });
  await stage.other.call("add", { key: "a", by: 1 });
  show("visible");
  await stage.shows("true 1");
  await stage.counts({ Counter: 1, open: 1, opened: 2 });
}

/** Another URL is another client; the old one is destroyed, the components stay. */
export async function anotherUrl(stage: Stage): Promise<void> {
  const Count = () => {
    const [mounted] = useState(() => performance.now());
    stage.rendered(`mounted ${mounted}`);
    const { data } = useStore("Counter", ({ a }) => a);
    return <p>{`${useStatus()} ${data}`}</p>;
  };
  const show = (url: string) =>
    stage.render(
      <HeadwaterProvider url={url}>
        <Count />
      </HeadwaterProvider>,
    );
  show(stage.url);
  await stage.shows("connected 0");
  const input = stage.find("p");
  show(`${stage.url}/?again`);
  await stage.counts({ Counter: 1, open: 1, opened: 2 });
  await stage.shows("connected 0");
  equal(stage.find("p") === input, true);
}

/** Mistakes are told in words. */
export async function mistakes(stage: Stage): Promise<void> {
  const Lost = () => <p>{useStatus()}</p>;
  stage.render(
    <>
      <Boundary>
        <Lost />
      </Boundary>
      <Boundary>
        <HeadwaterProvider url="nonsense">
          <p />
        </HeadwaterProvider>
      </Boundary>
    </>,
  );
  await stage.shows(
    "Cannot use useStatus(): there is no HeadwaterProvider around the component" +
      'Cannot connect: "nonsense" is no URL',
  );
}
