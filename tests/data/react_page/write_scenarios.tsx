/**
 * Scenarios of writes, calls and events.
 *
 * @module
 */
import { useEffect, useState } from "react";
import { createHooks } from "../../../adapters/react/mod.ts";
import { app } from "./app.ts";
import { equal, type Stage } from "./stage.tsx";

const {
  HeadwaterProvider,
  useCall,
  useClient,
  useEvent,
  useMutation,
  useStore,
  useUpdate,
} = createHooks<typeof app>();

/** What is typed into an input whose text is in a store stays as it is typed, however it is written. */
export async function typing(stage: Stage): Promise<void> {
  const writers = {
    useUpdate() {
      const update = useUpdate("Counter");
      return (text: string) => update((draft) => void (draft.text = text));
    },
    useMutation() {
      return useMutation("write");
    },
    useCall() {
      const { run } = useCall("write", {
        optimistic: { Counter: (state, text) => ({ ...state, text }) },
      });
      return run;
    },
  };
  type Writer = keyof typeof writers;
  let write = (_: string): unknown => undefined;
  const Form = ({ writer }: { writer: Writer }) => {
    write = writers[writer]();
    return <p />;
  };
  const Field = ({ writer }: { writer: Writer }) => {
    const { data, isPending } = useStore("Counter", (state) => state.text);
    if (isPending) return <p>waiting</p>;
    return (
      <input
        id={writer}
        value={data}
        onChange={({ target }) => void write(target.value)}
      />
    );
  };
  const seen = stage.other.subscribe("Counter");
  for (const writer of Object.keys(writers) as Writer[]) { // its own keys
    await stage.other.call("write", "");
    stage.render(
      <HeadwaterProvider key={writer} url={stage.url} options={{ app }}>
        <Form writer={writer} />
        <Field writer={writer} />
      </HeadwaterProvider>,
    );
    const selector = `#${writer}`;
    await stage.until(() => stage.container.querySelector(selector) !== null);
    stage.type(selector, "ad");
    const input = stage.find<HTMLInputElement>(selector);
    equal([writer, input.value, input.selectionStart], [writer, "ad", 2]);
    input.setSelectionRange(0, 0);
    stage.type(selector, "Dear ");
    // Were the text shown a moment later, React would put the old one back in between,
    // and the cursor behind it.
    equal([writer, input.value, input.selectionStart], [writer, "Dear ad", 5]);
    await stage.until(() => seen.getState()?.text === "Dear ad");
    equal([writer, input.value], [writer, "Dear ad"]);
  }
}

/** A recipe is written by a component that does not look at the store, and does not render. */
export async function recipe(stage: Stage): Promise<void> {
  const Button = () => {
    stage.rendered("button");
    const update = useUpdate("Counter");
    useEffect(() => stage.rendered("function"), [update]);
    return (
      <button
        type="button"
        onClick={() =>
          void update((draft) => {
            draft.a++;
          })}
      />
    );
  };
  stage.render(
    <HeadwaterProvider url={stage.url}>
      <Button />
    </HeadwaterProvider>,
    { isStrict: false },
  );
  await stage.counts({ Counter: 1 });
  const seen = stage.other.subscribe("Counter");
  await stage.until(() => {
    // Until there is a state, there is nothing to write to.
    stage.find("button").click();
    return (seen.getState()?.a ?? 0) > 1;
  });
  equal([stage.renders("button"), stage.renders("function")], [1, 1]);
  stage.faults.length = 0; // the clicks that came too early
}

/** A mutator of the contract shows at once. */
export async function mutation(stage: Stage): Promise<void> {
  const Room = () => {
    const say = useMutation("say");
    const { data } = useStore("Room:1", ({ messages }) => messages);
    return (
      <button
        type="button"
        onClick={() => void say(`${data?.length}`, { store: "Room:1" })}
      >
        {data ? `said ${data.join()}` : "waiting"}
      </button>
    );
  };
  stage.render(
    <HeadwaterProvider url={stage.url} options={{ app }}>
      <Room />
    </HeadwaterProvider>,
  );
  await stage.shows("said ");
  const click = async () => {
    stage.find("button").click();
    // No message of the server can come in between.
    for (let n = 0; n < 10; n++) await Promise.resolve();
  };
  await click();
  const atOnce = stage.text;
  await click();
  await click();
  const seen = stage.other.subscribe("Room:1");
  await stage.until(() => seen.getState()?.messages.length === 3);
  equal(seen.getState()?.messages, ["0", "1", "2"]);
  equal(atOnce, "said 0");
  await stage.shows("said 0,1,2");
}

/** A call shows that it waits, what it gave, and why it failed. */
export async function call(stage: Stage): Promise<void> {
  const Calls = () => {
    const hold = useCall("hold");
    const fail = useCall("fail");
    const { isPending, data, error } = hold;
    useEffect(() => stage.rendered("functions"), [hold.run, hold.reset]);
    return (
      <p>
        {`${isPending} ${data} ${error?.message} ${fail.error?.message}`}
        <button
          id="hold"
          type="button"
          onClick={({ detail }) => void hold.run(`${detail}`)}
        />
        <button
          id="fail"
          type="button"
          onClick={() => void fail.run("no luck")}
        />
        <button id="reset" type="button" onClick={hold.reset} />
      </p>
    );
  };
  stage.render(
    <HeadwaterProvider url={stage.url}>
      <Calls />
    </HeadwaterProvider>,
  );
  const click = (id: string, detail = 0) =>
    stage.find(id).dispatchEvent(
      new document.defaultView!.MouseEvent("click", { bubbles: true, detail }),
    );
  await stage.shows("false undefined undefined undefined");
  click("#hold", 1);
  await stage.shows("true undefined undefined undefined");
  await stage.other.call("release", "1");
  await stage.shows("false 1 undefined undefined");
  // The last call shows, though the one before is answered after it.
  click("#hold", 2);
  click("#hold", 3);
  await stage.shows("true 1 undefined undefined");
  await stage.other.call("release", "3");
  await stage.shows("false 3 undefined undefined");
  await stage.other.call("release", "2");
  click("#fail");
  await stage.shows("false 3 undefined no luck");
  // What was forgotten does not come back.
  click("#hold", 4);
  await stage.shows("true 3 undefined no luck");
  click("#reset");
  await stage.shows("false undefined undefined no luck");
  await stage.other.call("release", "4");
  click("#hold", 5);
  await stage.other.call("release", "5");
  await stage.shows("false 5 undefined no luck");
  // In StrictMode effects run twice; the functions were the same all the time.
  equal(stage.renders("functions"), 2);
}

/** What a call will make of a store shows at once, and is taken back where it fails. */
export async function optimistic(stage: Stage): Promise<void> {
  const Counter = () => {
    const { data } = useStore("Counter", ({ a }) => a);
    const fail = useCall("fail", {
      optimistic: { Counter: (state, by) => ({ ...state, a: Number(by) }) },
    });
    const add = useCall("add", {
      optimistic: {
        Counter: (state, { key, by }) => ({ ...state, [key]: state[key] + by }),
      },
    });
    return (
      <p>
        {`${data} ${fail.error?.message}`}
        <button id="fail" type="button" onClick={() => void fail.run("40")} />
        <button
          id="add"
          type="button"
          onClick={() => void add.run({ key: "a", by: 2 })}
        />
      </p>
    );
  };
  const seen: string[] = [];
  stage.render(
    <HeadwaterProvider url={stage.url}>
      <Counter />
    </HeadwaterProvider>,
  );
  await stage.shows("0 undefined");
  const observer = new document.defaultView!.MutationObserver(() => {
    seen.push(stage.text);
  });
  observer.observe(stage.container, { subtree: true, characterData: true });
  stage.find("#fail").click();
  await stage.shows("0 40");
  stage.find("#add").click();
  await stage.shows("2 40");
  observer.disconnect();
  equal(seen[0], "40 undefined");
}

/** A component that is gone while its call is on the way is no matter; the call takes effect. */
export async function callAndLeave(stage: Stage): Promise<void> {
  const Caller = () => {
    const { run } = useCall("hold");
    return <button type="button" onClick={() => void run("leave")} />;
  };
  const Page = () => {
    const [isShown, setShown] = useState(true);
    useEvent("toast", () => setShown(false));
    return isShown ? <Caller /> : <p>left</p>;
  };
  stage.render(
    <HeadwaterProvider url={stage.url}>
      <Page />
    </HeadwaterProvider>,
  );
  await stage.counts({ open: 1 });
  stage.find("button").click();
  await stage.until(async () => {
    await stage.other.call("toast", "go");
    return stage.text === "left";
  });
  await stage.other.call("release", "leave");
  await stage.other.call("add", { key: "a", by: 1 });
}

/** Events reach the listener of the last render, once; and nobody who is gone. */
export async function events(stage: Stage): Promise<void> {
  const heard: string[] = [];
  const Listener = ({ name }: { name: string }) => {
    const client = useClient();
    useEvent("toast", ({ text }) => heard.push(`${name} ${text}`));
    useEvent("connected", ({ clientId }) => {
      heard.push(clientId === client.clientId ? "connected" : "a stranger");
    });
    return <p>{name}</p>;
  };
  const show = (name: string) =>
    stage.render(
      <HeadwaterProvider url={stage.url}>
        {name && <Listener name={name} />}
      </HeadwaterProvider>,
    );
  show("first");
  await stage.until(() => heard.length === 1);
  await stage.other.call("toast", "1");
  await stage.until(() => heard.length === 2);
  show("second");
  await stage.shows("second");
  await stage.other.call("toast", "2");
  await stage.until(() => heard.length === 3);
  show("");
  await stage.shows("");
  await stage.other.call("toast", "3");
  show("third");
  await stage.shows("third");
  await stage.other.call("toast", "4");
  await stage.until(() => heard.length === 4);
  equal(heard, ["connected", "first 1", "second 2", "third 4"]);
}
