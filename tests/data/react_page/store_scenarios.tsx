/**
 * Scenarios of stores that are looked at.
 *
 * @module
 */
import { createHooks } from "../../../adapters/react/mod.ts";
import { createClient } from "../../../client/mod.ts";
import type { app } from "./app.ts";
import { equal, HeldTimers, type Stage } from "./stage.tsx";

const { HeadwaterProvider, useStatus, useStore } = createHooks<typeof app>();

/** A provider with a URL makes one client, and leaves nothing behind. */
export async function provider(stage: Stage): Promise<void> {
  const Shown = () => {
    const status = useStatus();
    const { data, isPending } = useStore("Counter");
    return <p>{isPending ? "waiting" : `${status} ${data?.a}`}</p>;
  };
  let sockets = 0;
  class CountedSocket extends WebSocket {
    constructor(...given: ConstructorParameters<typeof WebSocket>) {
      super(...given);
      sockets++;
    }
  }
  stage.render(
    <HeadwaterProvider url={stage.url} options={{ WebSocket: CountedSocket }}>
      <Shown />
      <Shown />
    </HeadwaterProvider>,
  );
  await stage.shows("connected 0connected 0");
  await stage.other.call("add", { key: "a", by: 2 });
  await stage.shows("connected 2connected 2");
  await stage.counts({ Counter: 1, open: 1, opened: 1 });
  stage.unmount();
  await stage.counts({ Counter: 0, open: 0, opened: 1 });
  equal(sockets, 1);
}

/** A client that is given stays when the provider goes; its subscriptions do not. */
export async function givenClient(stage: Stage): Promise<void> {
  const client = createClient<typeof app>(stage.url);
  const Shown = () => <p>{useStore("Counter", ({ b }) => b).data}</p>;
  stage.render(
    <HeadwaterProvider client={client}>
      <Shown />
    </HeadwaterProvider>,
  );
  await stage.shows("0");
  await stage.counts({ Counter: 1, open: 1 });
  stage.unmount();
  await stage.counts({ Counter: 0, open: 1 });
  equal(client.status, "connected");
  client.destroy();
}

/** A component renders again when what it selects is another, and not otherwise. */
export async function renders(stage: Stage): Promise<void> {
  const All = () => {
    stage.rendered("all");
    return <p>{useStore("Counter").data?.a}</p>;
  };
  const A = () => {
    stage.rendered("a");
    return <p>{useStore("Counter", (state) => state.a).data}</p>;
  };
  const Pair = () => {
    stage.rendered("pair");
    // Another object each time, and another function.
    const { data } = useStore(
      "Counter",
      ({ a, b }) => ({ isBig: a + b > 10 }),
      (x, y) => x.isBig === y.isBig,
    );
    return <p>{String(data?.isBig)}</p>;
  };
  const Status = () => {
    stage.rendered("status");
    return <p>{useStatus()}</p>;
  };
  stage.render(
    <HeadwaterProvider url={stage.url}>
      <All />
      <A />
      <Pair />
      <Status />
    </HeadwaterProvider>,
    { isStrict: false },
  );
  await stage.shows("00falseconnected");
  // Once without a state, and once with.
  equal(["all", "a", "pair"].map((name) => stage.renders(name)), [2, 2, 2]);
  const statuses = stage.renders("status");
  for (let n = 1; n <= 5; n++) {
    await stage.other.call("add", { key: "b", by: 1 });
  }
  await stage.other.call("add", { key: "a", by: 1 });
  await stage.shows("11falseconnected");
  equal(["a", "pair"].map((name) => stage.renders(name)), [3, 2]);
  // Once for each message, of which some may have brought more than one change.
  equal(stage.renders("all") <= 8 && stage.renders("all") >= 3, true);
  await stage.other.call("add", { key: "b", by: 50 });
  await stage.shows("11trueconnected");
  equal(["a", "pair"].map((name) => stage.renders(name)), [3, 3]);
  equal(stage.renders("status"), statuses);
}

/** A store that is missing or forbidden gives an error to show. */
export async function refusals(stage: Stage): Promise<void> {
  const Shown = ({ name }: { name: "Secret" | "Room:1" }) => {
    const { data, error, isPending } = useStore(name);
    if (isPending) return <p>waiting</p>;
    return <p>{`${JSON.stringify(data)} ${error ? "refused" : "fine"}`}</p>;
  };
  stage.render(
    <HeadwaterProvider url={stage.url}>
      <Shown name="Secret" />
      <Shown name="Room:1" />
    </HeadwaterProvider>,
  );
  await stage.shows('undefined refused{"messages":[]} fine');
  // The last state stays.
  await stage.other.call("deleteRoom", "1");
  await stage.shows('undefined refused{"messages":[]} refused');
  // Who comes anew asks anew.
  stage.render(
    <HeadwaterProvider url={stage.url}>
      <Shown key="again" name="Room:1" />
    </HeadwaterProvider>,
  );
  await stage.shows('{"messages":[]} fine');
  await stage.counts({ room: 1 });
}

/** A store that is left stays subscribed for a moment, and is then left. */
export async function leaving(stage: Stage): Promise<void> {
  const Shown = ({ room }: { room: string }) => {
    stage.rendered(room);
    const { data, isPending } = useStore(`Room:${room}`);
    return <p>{isPending ? "waiting" : `${room} ${data?.messages.length}`}</p>;
  };
  const show = (...rooms: string[]) =>
    stage.render(
      <HeadwaterProvider url={stage.url}>
        {rooms.map((room, n) => <Shown key={n} room={room} />)}
      </HeadwaterProvider>,
      { isStrict: false },
    );
  using timers = new HeldTimers(1_000);
  show("1");
  await stage.shows("1 0");
  show("2");
  await stage.shows("2 0");
  await stage.until(() => timers.size === 1);
  // At once there again: it was not left yet.
  const before = stage.renders("1");
  show("1");
  await stage.shows("1 0");
  equal(stage.renders("1"), before + 1);
  await stage.counts({ room: 2 });
  timers.run();
  await stage.counts({ room: 1 });
  show();
  await stage.until(() => timers.size === 1);
  timers.run();
  await stage.counts({ room: 0 });
  show("1");
  await stage.shows("1 0");
}
