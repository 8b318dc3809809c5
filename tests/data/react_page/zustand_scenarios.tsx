/**
 * Scenarios of Zustand in React.
 *
 * @module
 */
import { create } from "zustand";
import {
  bindZustand,
  headwater,
  type Mirror,
  type MirroredStates,
} from "../../../adapters/zustand.ts";
import { createClient } from "../../../client/mod.ts";
import type { app } from "./app.ts";
import { equal, type Stage } from "./stage.tsx";

type App = typeof app;

/** Components see what is bound, and render when what they select is another. */
export async function bound(stage: Stage): Promise<void> {
  const client = createClient<App>(stage.url);
  const useStores = create<Mirror<MirroredStates<App, "Counter" | "Room:1">>>(
    () => ({ status: "idle", stores: {} }),
  );
  const off = bindZustand(useStores, client, { stores: ["Counter", "Room:1"] });
  const Status = () => {
    stage.rendered("status");
    return <p>{useStores(({ status }) => status)}</p>;
  };
  const Room = () => {
    stage.rendered("room");
    const room = useStores(({ stores }) => stores["Room:1"]);
    return <p>{room ? `${room.messages.length} said` : "waiting"}</p>;
  };
  const Counter = () => <p>{useStores(({ stores }) => stores.Counter?.a)}</p>;
  stage.render(
    <>
      <Status />
      <Room />
      <Counter />
    </>,
    { isStrict: false },
  );
  await stage.shows("connected0 said0");
  const [statuses, rooms] = [stage.renders("status"), stage.renders("room")];
  await stage.other.call("add", { key: "a", by: 7 });
  await stage.shows("connected0 said7");
  equal([stage.renders("status"), stage.renders("room")], [statuses, rooms]);
  await stage.counts({ Counter: 1, room: 1, open: 1, opened: 1 });
  off();
  await stage.counts({ Counter: 0, room: 0, open: 1 });
  client.destroy();
}

/** One store of its own shows its writes at once, also in an input. */
export async function slice(stage: Stage): Promise<void> {
  const client = createClient<App>(stage.url);
  const useCounter = create(headwater(client, "Counter"));
  const Field = () => {
    const text = useCounter(({ data }) => data?.text);
    const update = useCounter(({ update }) => update);
    if (text === undefined) return <p>waiting</p>;
    return (
      <input
        value={text}
        onChange={({ target: { value } }) =>
          void update((draft) => void (draft.text = value))}
      />
    );
  };
  stage.render(<Field />);
  await stage.until(() => stage.container.querySelector("input") !== null);
  stage.type("input", "ad");
  const input = stage.find<HTMLInputElement>("input");
  input.setSelectionRange(0, 0);
  stage.type("input", "Dear ");
  equal([input.value, input.selectionStart], ["Dear ad", 5]);
  const seen = stage.other.subscribe("Counter");
  await stage.until(() => seen.getState()?.text === "Dear ad");
  await stage.counts({ Counter: 2 });
  useCounter.getState().unsubscribe();
  await stage.counts({ Counter: 1 });
  client.destroy();
}
