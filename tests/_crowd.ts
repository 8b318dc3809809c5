/**
 * Clients that write to shared stores through whatever happens to their
 * servers, and a book of what they were promised.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { Client, SubscriptionHandle } from "../client/mod.ts";
import { connectClient, type Entries } from "./_app.ts";
import { until, within } from "./_harness.ts";

/** State of a store "Room:*". */
interface Room {
  messages: string[];
}

/** Crashes are to be survived, and the machine may be busy with other things. */
const SETTLE_MS = 60_000;

/** How many clients there are, and where they connect. */
export interface CrowdOptions {
  readonly clients: number;
  readonly ports: readonly number[];
  /** Each client is in one room, and "Entries" is everybody's. */
  readonly rooms: number;
}

/** See the module's documentation. */
export class Crowd implements AsyncDisposable {
  readonly #visitors: Visitor[];
  /** Position that each acknowledged label was given. */
  readonly #positions = new Map<string, number>();
  /** What was acknowledged in each room. */
  readonly #said = new Map<string, string[]>();

  private constructor({ clients, ports, rooms }: CrowdOptions) {
    this.#visitors = Array.from(
      { length: clients },
      (_, n) =>
        new Visitor(n, {
          port: ports[n % ports.length]!, // there is at least one
          room: `${n % rooms}`,
        }),
    );
  }

  /** Connects all, and waits until each has the state. */
  static async connect(options: CrowdOptions): Promise<Crowd> {
    const crowd = new Crowd(options);
    try {
      await within(
        Promise.all(crowd.#visitors.map((visitor) => visitor.ready())),
        { ms: SETTLE_MS, describe: () => `the state at all clients` },
      );
      return crowd;
    } catch (error) {
      await crowd[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** How many writes were acknowledged. */
  get acknowledged(): number {
    return this.#positions.size;
  }

  /**
   * Lets every client write so often to "Entries" and to its room, one after the
   * other, while `trouble` happens once a part of them is through.
   */
  async write(
    rounds: number,
    trouble: () => Promise<void> = () => Promise.resolve(),
  ): Promise<void> {
    const before = this.acknowledged;
    const writing = Promise.all(
      this.#visitors.map((visitor) => this.#visit(visitor, rounds)),
    );
    const describe = () =>
      `${this.acknowledged - before} of ${
        rounds * this.#visitors.length
      } writes acknowledged`;
    const part = rounds * this.#visitors.length / 4;
    await Promise.race([
      writing,
      until(() => this.acknowledged - before >= part, {
        ms: SETTLE_MS,
        describe,
      }),
    ]);
    const left = before + rounds * this.#visitors.length - this.acknowledged;
    assert.ok(left > 0, "the trouble would come too late");
    await trouble();
    await within(writing, { ms: SETTLE_MS, describe });
  }

  /** Everybody has the same, in one order, with every acknowledged write in it once. */
  async assertTogether(): Promise<void> {
    const [first] = this.#visitors as [Visitor];
    const total = this.acknowledged;
    await until(
      () => this.#visitors.every(({ items }) => items.length >= total),
      { ms: SETTLE_MS, describe: () => this.#describe() },
    );
    const { items } = first;
    assert.equal(new Set(items).size, items.length, "a write is there twice");
    assert.equal(items.length, total, "there is what nobody was promised");
    for (const [label, position] of this.#positions) {
      assert.equal(items[position - 1], label);
    }
    for (const visitor of this.#visitors) visitor.assertSaw(items);
    await this.#assertRooms();
    assert.equal(
      new Set(this.#visitors.map(({ version }) => version)).size,
      1,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const visitor of this.#visitors) visitor.leave();
    await Promise.resolve();
  }

  async #visit(visitor: Visitor, rounds: number): Promise<void> {
    for (let round = 0; round < rounds; round++) {
      const { label, position } = await visitor.add();
      this.#positions.set(label, position);
      const said = this.#said.get(visitor.room) ?? [];
      this.#said.set(visitor.room, said);
      said.push(await visitor.say());
    }
  }

  async #assertRooms(): Promise<void> {
    for (const [room, said] of this.#said) {
      const inRoom = this.#visitors.filter((visitor) => visitor.room === room);
      await until(
        () => inRoom.every(({ messages }) => messages.length >= said.length),
        { ms: SETTLE_MS, describe: () => `all that was said in room ${room}` },
      );
      const [{ messages } = { messages: [] }] = inRoom;
      assert.deepEqual(messages.toSorted(), said.toSorted());
      for (const visitor of inRoom) {
        assert.deepEqual(visitor.messages, messages);
      }
    }
  }

  #describe(): string {
    const lengths = this.#visitors.map(({ items }) => items.length);
    return `${Math.min(...lengths)} to ${
      Math.max(...lengths)
    } of ${this.acknowledged} writes at the clients`;
  }
}

class Visitor {
  readonly room: string;
  readonly #n: number;
  readonly #client: Client;
  readonly #entries: SubscriptionHandle<Entries>;
  readonly #room: SubscriptionHandle<Room>;
  /** Each state that was shown: how many there were, and the last of them. */
  readonly #seen: { length: number; last: string | undefined }[] = [];
  #count = 0;

  constructor(n: number, { port, room }: { port: number; room: string }) {
    this.#n = n;
    this.room = room;
    this.#client = connectClient(port, { rpcTimeoutMs: SETTLE_MS });
    this.#entries = this.#client.subscribe<Entries>("Entries", (state) => {
      const { items } = state;
      this.#seen.push({ length: items.length, last: items.at(-1) });
    });
    this.#room = this.#client.subscribe<Room>(`Room:${room}`);
  }

  get items(): readonly string[] {
    return this.#entries.getState()?.items ?? [];
  }

  get messages(): readonly string[] {
    return this.#room.getState()?.messages ?? [];
  }

  get version(): number | undefined {
    return this.#entries.version;
  }

  async ready(): Promise<void> {
    await Promise.all([this.#entries.ready(), this.#room.ready()]);
  }

  /** Adds a label, which its own replica shows by then. */
  async add(): Promise<{ label: string; position: number }> {
    const label = `${this.#n}.${this.#count++}`;
    const position = await this.#client.call<number>("entries.add", { label });
    assert.equal(this.items[position - 1], label, "its own write is not shown");
    return { label, position };
  }

  /** The same in its room. */
  async say(): Promise<string> {
    const text = `${this.#n}.${this.#count++}`;
    await this.#client.call("rooms.say", { room: this.room, text });
    assert.ok(this.messages.includes(text), "its own message is not shown");
    return text;
  }

  /** All that it was shown were beginnings of the one order, never a shorter one after a longer. */
  assertSaw(order: readonly string[]): void {
    assert.deepEqual(this.items, order);
    let before = 0;
    for (const { length, last } of this.#seen) {
      assert.ok(length >= before, `client ${this.#n} went back`);
      assert.equal(last, order[length - 1], `another order at ${this.#n}`);
      before = length;
    }
  }

  leave(): void {
    this.#client.destroy();
  }
}
