import { decodeDown } from "../../protocol/codec.ts";
import type { DownFrame } from "../../protocol/frames.ts";

/** A `WebSocket` that also shows every frame it receives to `onFrame`. */
export function tapWebSocket(
  onFrame: (frame: DownFrame) => void,
): typeof WebSocket {
  return class extends WebSocket {
    constructor(url: string | URL, protocols?: string | string[]) {
      super(url, protocols);
      this.addEventListener("message", ({ data }) => {
        if (!(data instanceof ArrayBuffer)) return;
        for (const frame of decodeDown(new Uint8Array(data))) onFrame(frame);
      });
    }
  };
}

/** What arrived for one store since the page was loaded. */
export interface Received {
  snapshots: number;
  patches: number;
  /** Versions that were missed while away and came as patches. */
  missed: number;
}

/** Counts what arrives, by store, and tells the last of it in words. */
export class WireCount {
  readonly #received = new Map<string, Received>();
  readonly #names = new Map<number, string>();

  of(store: string): Received {
    const received = this.#received.get(store) ??
      { snapshots: 0, patches: 0, missed: 0 };
    this.#received.set(store, received);
    return received;
  }

  /** Takes a frame in; the sentence for people, where it carried state. */
  add(frame: DownFrame): string | undefined {
    switch (frame.type) {
      case "snap":
        this.#names.set(frame.store, frame.name);
        this.of(frame.name).snapshots++;
        return `Snapshot of ${frame.name} at version ${frame.version}`;
      case "resume":
        this.#names.set(frame.store, frame.name);
        return this.#addMissed(frame.name, frame.version - frame.from);
      case "patch":
        return this.#addPatch(
          this.#names.get(frame.store) ?? "",
          frame.from,
          frame.version,
        );
      default:
        return undefined;
    }
  }

  #addMissed(name: string, missed: number): string {
    const received = this.of(name);
    received.missed += missed;
    if (missed === 0) return `${name} was up to date, nothing sent`;
    received.patches++;
    return `Patch with the ${
      missed === 1 ? "one change" : `${missed} changes`
    } that ${name} missed`;
  }

  #addPatch(name: string, from: number, version: number): string {
    this.of(name).patches++;
    return `Patch of ${name}, version ${from} to ${version}`;
  }
}
