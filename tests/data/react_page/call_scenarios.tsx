/**
 * Scenarios of calls and events.
 *
 * @module
 */
import { useEffect, useLayoutEffect, useState } from "react";
import { createHooks } from "../../../adapters/react/mod.ts";
import { createClient } from "../../../client/mod.ts";
import type { app } from "./app.ts";
import { equal, type Stage } from "./stage.tsx";

const { HeadwaterProvider, useCall, useClient, useEvent, useStore } =
  createHooks<typeof app>();

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
  const client = createClient<typeof app>(stage.url);
  let sent = 0;
  client.on("toast", () => sent++);
  /** Until it has come here, whoever listens. */
  const toast = async (text: string) => {
    const before = sent;
    await stage.other.call("toast", text);
    await stage.until(() => sent === before + 1);
  };
  const heard: string[] = [];
  const Listener = ({ name }: { name: string }) => {
    useEvent("toast", ({ text }) => heard.push(`${name} ${text}`));
    useEffect(() => stage.rendered(`${name} listens`));
    return <p>{name}</p>;
  };
  const show = async (name: string) => {
    stage.render(
      <HeadwaterProvider client={client}>
        {name && <Listener name={name} />}
      </HeadwaterProvider>,
    );
    await stage.shows(name);
    await stage.until(() =>
      name === "" || stage.renders(`${name} listens`) > 0
    );
  };
  await show("first");
  await stage.until(() => client.status === "connected");
  await toast("1");
  await show("second");
  await toast("2");
  await show("");
  await toast("3");
  await show("third");
  await toast("4");
  client.destroy();
  equal(heard, ["first 1", "second 2", "third 4"]);
}

/** Events of the client's own connection reach who was there from the first. */
export async function ownEvents(stage: Stage): Promise<void> {
  const Listener = () => {
    const client = useClient();
    const [text, setText] = useState("waiting");
    useEvent("connected", ({ clientId }) => {
      setText(clientId === client.clientId ? "connected" : "a stranger");
    });
    return <p>{text}</p>;
  };
  stage.render(
    <HeadwaterProvider url={stage.url}>
      <Listener />
    </HeadwaterProvider>,
  );
  await stage.shows("connected");
}

/** Who is taken off hears nothing any more, also of what happens in the same moment. */
export async function gone(stage: Stage): Promise<void> {
  const client = createClient<typeof app>(stage.url);
  const heard: string[] = [];
  const Listener = ({ name }: { name: string }) => {
    useEvent("disconnected", () => heard.push(name));
    useEffect(() => stage.rendered("listens"));
    return <p>{name}</p>;
  };
  const Page = ({ isOver }: { isOver: boolean }) => {
    // After the page has changed, and before React has tidied up.
    useLayoutEffect(() => {
      if (isOver) client.destroy();
    }, [isOver]);
    return isOver ? null : <Listener name="gone" />;
  };
  const show = (isOver: boolean) =>
    stage.render(
      <HeadwaterProvider client={client}>
        <Listener name="here" />
        <Page isOver={isOver} />
      </HeadwaterProvider>,
      { isStrict: false },
    );
  show(false);
  await stage.until(() => stage.renders("listens") === 2);
  await client.ready();
  show(true);
  await stage.shows("here");
  await stage.until(() => client.status === "closed");
  equal(heard, ["here"]);
}
