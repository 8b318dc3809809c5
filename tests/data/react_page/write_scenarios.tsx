/**
 * Scenarios of writes.
 *
 * @module
 */
import { useEffect } from "react";
import { createHooks } from "../../../adapters/react/mod.ts";
import { app } from "./app.ts";
import { equal, type Stage } from "./stage.tsx";

const {
  HeadwaterProvider,
  useCall,
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
