/**
 * What answers a subscription: a snapshot, or exactly what the client missed.
 *
 * @module
 */
import { HeadwaterError } from "../../protocol/errors.ts";
import type { ResumeToken } from "../../protocol/frames.ts";
import type { Patch } from "../../protocol/patch.ts";
import type { StoreId } from "../log/keys.ts";
import { readHead, readSince } from "../log/reader.ts";
import type { Kv } from "../ports.ts";
import type { Fanout } from "./fanout.ts";
import type { StoreAnswer } from "./store_frames.ts";
import type { Store } from "./store.ts";

/** Answers a subscription to `store`, or to the view of it that has that `fanout`, with `token`. */
export async function answerSubscription(
  store: Store,
  token: ResumeToken | undefined,
  fanout: Fanout = store.fanout,
): Promise<StoreAnswer> {
  const isView = fanout !== store.fanout;
  if (!token) return snapshotOf(store, fanout);
  // A client that is ahead of this server, or on another epoch, knows more than we do.
  if (token.epoch !== store.epoch || token.version >= store.version) {
    await store.check();
  }
  if (store.ended) throw store.ended;
  if (store.isGone) {
    // The client may have seen the next life already, and must not be shown this one again.
    const message = `Cannot follow store "${store.id.name}": it was deleted`;
    throw new HeadwaterError("store_deleted", message);
  }
  if (token.epoch === store.epoch && token.version > store.version) {
    await store.refute(token.version);
  }
  if (token.epoch !== store.epoch) return snapshotOf(store, fanout);
  // A view may be behind; what the client has had already it would pass over.
  if (isView) store.fanout.flush();
  const frame = fanout.frames.resume(token);
  let answer: StoreAnswer | undefined;
  if (frame) answer = { frame, position: fanout.position, isResume: true };
  // The log has what a view hides.
  else if (!isView) {
    answer = await fanout.frames.shareResume(
      token,
      () => resumeFromLog(store, token),
    );
  }
  if (!answer) return snapshotOf(store, fanout);
  // All versions that are kept may be a hundred times the state: whoever was away for long
  // would make the server hold as much for a connection.
  const isFarLonger = fanout.frames.isLongerThanState(
    answer.frame.byteLength / 2,
  );
  return isFarLonger ? snapshotOf(store, fanout) : answer;
}

function snapshotOf(store: Store, fanout: Fanout): StoreAnswer {
  if (fanout !== store.fanout) store.fanout.flush();
  return {
    frame: fanout.frames.snapshot(),
    position: fanout.position,
    isResume: false,
  };
}

async function resumeFromLog(
  { kv, id, fanout }: Store,
  token: ResumeToken,
): Promise<StoreAnswer | undefined> {
  const { position } = fanout;
  const patches = await readMissed(kv, id, token, position.version);
  if (!patches || fanout.position.epoch !== position.epoch) return undefined;
  // Others may have written meanwhile: the subscription follows up with what is newer. Were
  // that a reason for a snapshot, a busy store would never be resumed.
  const frame = fanout.frames.encodeResume(token, patches, position);
  return { frame, position, isResume: true };
}

/**
 * The patches from the token's version up to `version`; undefined where the log
 * does not reach back so far, or was written by somebody else than the token says.
 */
async function readMissed(
  kv: Kv,
  id: StoreId,
  token: ResumeToken,
  version: number,
): Promise<Patch[] | undefined> {
  // Nothing made version 0, so nothing can prove it.
  if (token.version === 0) return undefined;
  const read = await readHead(kv, id);
  if (!read || read.head.epoch !== token.epoch) return undefined;
  // One version below, so that the entry which made the token's version is read as well.
  const entries = await readSince(kv, id, read, token.version - 1);
  if (!entries) return undefined;
  const patches: Patch[] = [];
  for (const { from, writer, mutations } of entries) {
    for (const [index, { patch }] of mutations.entries()) {
      const made = from + index + 1;
      if (made === token.version && writer !== token.writer) return undefined;
      if (made > token.version && made <= version) patches.push(patch);
    }
  }
  return patches.length === version - token.version ? patches : undefined;
}
