import assert from "node:assert/strict";
import { decodeDown } from "../protocol/codec.ts";
import type { DownFrame } from "../protocol/frames.ts";
import { applyPatch } from "../protocol/patch.ts";
import type { Json } from "../protocol/value.ts";
import type { Delivery, Fanout, Subscriber } from "../server/stores/fanout.ts";
import {
  flushTogether,
  type JointDelivery,
} from "../server/stores/joint_delivery.ts";
import { answerSubscription } from "../server/stores/resume.ts";
import type { StoreOptions } from "../server/stores/store_options.ts";
import type { AccessContext } from "../server/stores/writer.ts";
import {
  Subscription,
  type SubscriptionOwner,
} from "../server/subscription.ts";
import { memoryKv, TestNode } from "./_store_harness.ts";
import { until } from "./_waiting.ts";

/** Who asks, in these tests: a user with a role, by any number of clients. */
function context(role: string, clientId = "c1", id?: string): AccessContext {
  const user = { role, ...(id !== undefined && { id }) };
  return { user, clientId, namespace: "default", name: "Board", key: null };
}

interface Board {
  title: string;
  secret: string;
  rows: { id: number; text: string; note: string }[];
}

const BOARD: Board = {
  title: "t",
  secret: "hidden-0",
  rows: [0, 1, 2, 3].map((id) => ({ id, text: `row ${id}`, note: "hidden" })),
};

const BY_ROLE: StoreOptions<Board> = {
  audience: ({ user }) => (user as { role: string }).role,
  view: ({ secret, ...open }, { audience }) =>
    audience === "admin" ? { ...open, secret } : {
      ...open,
      rows: open.rows.map(({ id, text }) => ({ id, text })),
    },
};

async function openBoard(options: StoreOptions<Board> = BY_ROLE) {
  const kv = await memoryKv();
  const node = new TestNode(kv, {});
  const board = node.store<Board>(
    "Board",
    BOARD,
    options as unknown as StoreOptions,
  );
  await node.open();
  await board.init();
  return {
    node,
    board,
    store: () => node.loaded("Board"),
    [Symbol.asyncDispose]: async () => {
      await node.close();
      kv[Symbol.dispose]();
    },
  };
}

/** Follows a view, and applies what it is sent. */
class Follower implements Subscriber {
  readonly frames: DownFrame[] = [];
  readonly deliveries: Delivery[] = [];
  reason: unknown;
  state: Json;
  version: number;

  constructor(readonly fanout: Fanout) {
    const [snap] = decodeDown(fanout.frames.snapshot());
    assert.ok(snap?.type === "snap");
    this.state = snap.state;
    this.version = snap.version;
    fanout.add(this);
  }

  patched(_: Fanout, delivery: Delivery): void {
    assert.equal(delivery.from, this.version);
    this.deliveries.push(delivery);
    const [frame] = decodeDown(delivery.frame);
    assert.ok(frame?.type === "patch");
    this.frames.push(frame);
    this.state = applyPatch(this.state, frame.patch);
    this.version = frame.version;
  }

  jumped(fanout: Fanout): void {
    const [snap] = decodeDown(fanout.frames.snapshot());
    assert.ok(snap?.type === "snap");
    this.state = snap.state;
    this.version = snap.version;
  }

  ended(_: Fanout, reason: unknown): void {
    this.reason = reason;
  }
}

Deno.test("Views makes one difference for each audience and write, however many subscribe", async () => {
  await using at = await openBoard();
  const views = at.store().views!;
  const roles = ["admin", "member", "guest"];
  const all = Array.from(
    { length: 1_000 },
    (_, n) => new Follower(views.open(context(roles[n % 3]!, `c${n}`))),
  );
  assert.equal(at.store().fanout.size, 1_000);
  for (let n = 1; n <= 5; n++) {
    const before = views.diffs;
    await at.board.update((draft) => {
      draft.rows[1]!.text = `changed ${n}`;
      draft.secret = `hidden-${n}`;
    });
    at.store().fanout.flush();
    const made = views.diffs - before;
    assert.ok(made === 3, `${made} differences for 3 audiences`);
  }
  for (const follower of all) {
    const { version } = at.store();
    assert.equal(follower.version, version);
  }
  const [admin, member, guest] = all.map(({ state }) =>
    state as unknown as Board
  );
  assert.equal(admin!.secret, "hidden-5");
  assert.deepEqual(member, guest);
  assert.deepEqual(Object.keys(member!), ["title", "rows"]);
  // A frame is encoded once for all who share the view.
  assert.equal(all[0]!.deliveries[0]!.frame, all[3]!.deliveries[0]!.frame);
  assert.notEqual(all[1]!.deliveries[0]!.frame, all[2]!.deliveries[0]!.frame);
});

Deno.test("a view is sent as what differs in it, also where the view makes all objects anew", async () => {
  await using at = await openBoard();
  const follower = new Follower(at.store().views!.open(context("guest")));
  await at.board.update((draft) => void (draft.rows[2]!.text = "new"));
  await at.board.update((draft) => void (draft.rows[2]!.note = "hidden twice"));
  await at.board.update((draft) => void draft.rows.shift());
  at.store().fanout.flush();
  assert.deepEqual(
    follower.frames.map((frame) => frame.type === "patch" && frame.patch),
    [
      [{ op: "replace", path: ["rows", 2, "text"], value: "new" }],
      // The version is told, what has changed is not.
      [],
      [{ op: "remove", path: ["rows", 0] }],
    ],
  );
  assert.equal(follower.version, at.store().version);
});

Deno.test("who comes back to the same view of the same load gets what it missed, and nobody else does", async () => {
  await using at = await openBoard();
  const store = at.store();
  const views = store.views!;
  const guests = views.open(context("guest"));
  const token = { ...guests.position };
  const other = { ...views.open(context("admin")).position };
  // Nobody is there while these are made.
  await at.board.update((draft) => void (draft.title = "a"));
  await at.board.update((draft) => void (draft.secret = "hidden-x"));
  const answer = async (given: typeof token, role = "guest") => {
    const fanout = views.open(context(role));
    const { frame } = await answerSubscription(store, given, fanout);
    return decodeDown(frame)[0]!;
  };
  const resumed = await answer(token);
  assert.ok(resumed.type === "resume");
  assert.equal(resumed.version, store.version);
  assert.deepEqual(resumed.patch, [
    { op: "replace", path: ["title"], value: "a" },
  ]);
  for (
    const [given, role] of [
      [token, "admin"],
      [other, "guest"],
      // That of the store itself, which the log could prove.
      [{ ...at.node.token("Board"), version: store.version - 1 }, "guest"],
      [{ ...token, writer: "forged" }, "guest"],
    ] as const
  ) {
    assert.equal((await answer(given, role)).type, "snap");
  }
});

Deno.test("a view for which nobody is there costs nothing, and few of them are kept", async () => {
  let made = 0;
  await using at = await openBoard({
    view: ({ title }) => {
      made++;
      return { title };
    },
  });
  const views = at.store().views!;
  const followers = Array.from(
    { length: 100 },
    (_, n) => new Follower(views.open(context("guest", `c${n}`))),
  );
  assert.deepEqual([made, views.size], [100, 100]);
  const fanouts = followers.map(({ fanout }) => fanout);
  for (const follower of followers.slice(1)) follower.fanout.delete(follower);
  assert.equal(views.size, 1);
  await at.board.update((draft) => void (draft.title = "seen by one"));
  at.store().fanout.flush();
  assert.equal(made, 101);
  followers[0]!.fanout.delete(followers[0]!);
  const kept = fanouts.filter((fanout, n) =>
    views.open(context("guest", `c${n}`)) === fanout
  );
  assert.ok(kept.length > 0 && kept.length <= 32, `${kept.length} kept`);
});

Deno.test("by default each user has a view, as far as all is known of them is the same, and else each client", async () => {
  await using at = await openBoard({ view: ({ title }) => ({ title }) });
  const views = at.store().views!;
  const ada = views.open(context("admin", "c1", "ada"));
  assert.equal(views.open(context("admin", "c2", "ada")), ada);
  // The same user, who is told apart by what they may.
  assert.notEqual(views.open(context("guest", "c1", "ada")), ada);
  const anyone = views.open(context("guest", "c1"));
  assert.notEqual(views.open(context("guest", "c2")), anyone);
  assert.equal(views.open(context("guest", "c1")), anyone);
});

Deno.test("a view that throws ends those who follow it, says nothing of what it saw, and spares the others", async () => {
  await using at = await openBoard({
    audience: BY_ROLE.audience!,
    view: ({ title, secret }, { audience }) => {
      if (audience === "guest" && secret !== "hidden-0") {
        throw new Error(`Cannot bear ${secret}`);
      }
      return { title };
    },
  });
  const errors: Error[] = [];
  at.node.lifecycle.on("error", (error) => void errors.push(error));
  const store = at.store();
  const views = store.views!;
  const guest = new Follower(views.open(context("guest")));
  const admin = new Follower(views.open(context("admin")));
  await at.board.update((draft) => void (draft.secret = "hidden-1"));
  store.fanout.flush();
  const { code, message } = guest.reason as { code: string; message: string };
  assert.deepEqual([code, message], [
    "store_unreadable",
    'Cannot show store "Board": its view failed',
  ]);
  assert.deepEqual([admin.reason, admin.version], [undefined, store.version]);
  assert.throws(() => views.open(context("guest")), {
    code: "store_unreadable",
  });
  assert.deepEqual([views.size, store.fanout.size], [1, 1]);
  await until(() => errors.length > 0);
  assert.match(errors[0]!.message, /Cannot bear hidden-1/);
});

Deno.test("a view may be any JSON value, shares the state's parts, and is refused what cannot be shared", async () => {
  for (
    const [made, code] of [[null, 0], [[1], 0], ["x", 0], [new Date(), 1], [
      Promise.resolve(1),
      1,
    ]] as const
  ) {
    await using at = await openBoard({ view: () => made as unknown });
    const views = at.store().views!;
    if (code) {
      assert.throws(() => views.open(context("guest")), {
        code: "store_unreadable",
      });
    } else {
      assert.deepEqual(new Follower(views.open(context("guest"))).state, made);
    }
  }
  await using at = await openBoard({ view: ({ rows }) => ({ rows }) });
  const fanout = at.store().views!.open(context("guest"));
  const { rows } = at.store().state as unknown as Board;
  // No copy of a large state for each audience.
  assert.equal((fanout.state as unknown as Board).rows, rows);
  assert.ok(Object.isFrozen(fanout.state));
});

Deno.test("a view with a state that is nested too deeply around it is refused, not sent", async () => {
  const deep = (levels: number): unknown =>
    levels === 0 ? 1 : [deep(levels - 1)];
  await using at = await openBoard({
    view: (state, { audience }) =>
      audience === "admin" ? state : { wrapped: { state } },
    audience: BY_ROLE.audience!,
  });
  const views = at.store().views!;
  await at.board.set({ ...BOARD, title: deep(62) as string });
  views.open(context("admin"));
  assert.throws(() => views.open(context("guest")), {
    code: "store_unreadable",
  });
});

Deno.test("subscribers of views count as subscribers of the store, and who changes views has not left", async () => {
  const told: number[] = [];
  await using at = await openBoard({
    ...BY_ROLE,
    selfDestruct: (left) => {
      told.push(left);
      return false;
    },
  });
  const store = at.store();
  const views = store.views!;
  const follower = new Follower(views.open(context("guest")));
  const other = new Follower(views.open(context("guest")));
  assert.deepEqual([store.fanout.size, at.board.subscriberCount()], [2, 2]);
  assert.equal(store.isIdle, false);
  const admins = views.open(context("admin"));
  views.move(follower, follower.fanout, admins);
  assert.deepEqual([store.fanout.size, admins.size], [2, 1]);
  admins.delete(follower);
  await until(() => told.length > 0);
  other.fanout.delete(other);
  await until(() => told.length > 1);
  assert.deepEqual([told, store.fanout.size, store.isIdle], [[1, 0], 0, true]);
});

/** Takes what a subscription sends, as its connection would. */
class Owner implements SubscriptionOwner {
  readonly sent: DownFrame[] = [];
  readonly shownSession = undefined;
  isFull = false;
  readonly outbox: SubscriptionOwner["outbox"];

  constructor() {
    const { sent } = this;
    const isFull = () => this.isFull;
    const outbox = {
      get isFull(): boolean {
        return isFull();
      },
      push: (frame: Uint8Array) => void sent.push(...decodeDown(frame)),
    };
    // Nothing else of it is asked by a subscription.
    this.outbox = outbox as unknown as SubscriptionOwner["outbox"];
  }

  dirtied(): void {}
  advanced(): void {}
  finished(): void {}
  isBound(): boolean {
    return false;
  }
  patchedTogether(): void {}
}

Deno.test("a subscription that is still being answered is sent nothing of the view that it has left", async () => {
  await using at = await openBoard();
  const store = at.store();
  const owner = new Owner();
  const subscription = new Subscription("Board", owner);
  // A token of this version has the store look into the KV first.
  const token = { epoch: store.epoch, version: store.version, writer: "none" };
  const first = subscription.attach(store, token, context("admin"));
  await Promise.all([first, subscription.review(context("guest"))]);
  assert.equal(owner.sent.length, 1);
  assert.ok(!JSON.stringify(owner.sent).includes("hidden"));
  subscription.end();
});

Deno.test("a subscription that is behind is not sent the difference of another view than it has", async () => {
  await using at = await openBoard();
  const store = at.store();
  const views = store.views!;
  const guest = new Follower(views.open(context("guest")));
  const owner = new Owner();
  const subscription = new Subscription("Board", owner);
  await subscription.attach(store, undefined, context("admin"));
  owner.isFull = true;
  await at.board.update((draft) => void (draft.title = "new"));
  store.fanout.flush();
  owner.isFull = false;
  const reviewed = subscription.review(context("guest"));
  subscription.flush();
  await reviewed;
  assert.deepEqual(owner.sent.map(({ type }) => type), ["snap", "snap"]);
  const last = owner.sent.at(-1);
  assert.deepEqual(last?.type === "snap" && last.state, guest.state);
  subscription.end();
});

Deno.test("flushTogether() hands what belongs together on to whoever follows views of it, at once", async () => {
  await using at = await openBoard();
  const other = at.node.store("Other", { n: 0 }, { view: () => "nothing" });
  await other.init();
  const got: (readonly JointDelivery[])[] = [];
  const receiver = {
    patchedTogether: (deliveries: readonly JointDelivery[]) =>
      void got.push(deliveries),
  };
  const stores = [at.store(), at.node.loaded("Other")];
  for (const store of stores) {
    const follower = new Follower(store.views!.open(context("guest")));
    Object.assign(follower, { receiver });
    store.fanout.hold();
  }
  await at.board.update((draft) => void (draft.title = "new"));
  await other.update((draft) => void draft.n++);
  assert.equal(got.length, 0);
  flushTogether(stores.map(({ fanout }) => fanout));
  assert.deepEqual(
    got.map((deliveries) => deliveries.map(({ fanout }) => fanout.name)),
    [["Board", "Other"]],
  );
});
