/**
 * The first target: every decoder, called directly. An input is made from a seed
 * and its number alone, so that each can be made again.
 *
 * @module
 */
import { cpuUsage } from "node:process";
import { SeededRandom } from "../../tests/_arbitraries.ts";
import { FuzzFailure, refusalCode, SLOW_MS } from "./contract.ts";
import { HOPELESS_MS, isMostlySlow, measureAlone } from "./stopwatch.ts";
import type { Decoder } from "./decoder.ts";
import { DraftWriter } from "./draft.ts";
import { frameDecoders } from "./frame_decoders.ts";
import { editDraft, mutateBytes, randomBytes } from "./mutations.ts";
import { recordDecoders } from "./record_decoders.ts";
import { countRefused, rowOf, type Tally } from "./tally.ts";
import { valueDecoders } from "./value_decoders.ts";

/** How an input was made. */
export const KINDS = ["random", "mutated", "structured"] as const;

/** One input, and who is to take it. */
export interface CodecCase {
  readonly decoder: string;
  readonly kind: typeof KINDS[number];
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** An input that did what it must not do. */
export interface Found {
  readonly target: "codec" | "live" | "http";
  /** Decoder, or how it was sent. */
  readonly decoder: string;
  /** The messages, each in hexadecimal; the codec's inputs are one each. */
  readonly hex: readonly string[];
  /** What happened. */
  readonly failure: string;
}

/** What a run of this target gives. */
export interface CodecResult {
  readonly decoders: Tally;
  readonly kinds: Tally;
  readonly found: Found[];
  /** The slowest of the inputs that were within the limit, in milliseconds. */
  readonly slowestMs: number;
  /** How many inputs were over the limit under load. */
  readonly slowCount: number;
  /** The slowest of them, which are to be measured again alone. */
  readonly slow: SlowCase[];
  /** Whether it ended early, with one slow input after the other. */
  readonly isCut: boolean;
}

/** An input, and how long it took under load. */
export interface SlowCase extends CodecCase {
  readonly ms: number;
}

/** Which inputs to run. */
export interface CodecRun {
  readonly seed: number;
  readonly from: number;
  readonly to: number;
  /** Told the number of the input at hand, before it runs. */
  readonly onInput?: (index: number) => void;
}

/** Slow inputs that a run keeps. */
const SLOW_KEPT = 25;

/** Failures after which a run stops: they are most likely one and the same. */
const ENOUGH = 5;

/** See the module's documentation. */
export class CodecTarget {
  readonly decoders: readonly Decoder[];
  readonly #byName: ReadonlyMap<string, Decoder>;
  readonly #writer = new DraftWriter();

  /** A target of these decoders. */
  constructor(decoders: readonly Decoder[]) {
    this.decoders = decoders;
    this.#byName = new Map(decoders.map((decoder) => [decoder.name, decoder]));
  }

  /** Every decoder. */
  static async create(): Promise<CodecTarget> {
    return new CodecTarget([
      ...frameDecoders(),
      ...valueDecoders(),
      ...await recordDecoders(),
    ]);
  }

  /** The input of that number. */
  makeCase(seed: number, index: number): CodecCase {
    const random = new SeededRandom(
      Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(index + 1, 0x85ebca6b),
    );
    const decoder = this.decoders[index % this.decoders.length]!; // there are some
    const name = decoder.name;
    const kind = random.below(20);
    if (kind === 0) {
      return { decoder: name, kind: "random", bytes: randomBytes(random) };
    }
    if (kind < 9) {
      const other = random.pick(this.decoders);
      const bytes = mutateBytes(
        this.#valid(decoder, random),
        this.#valid(other, random),
        random,
      );
      return { decoder: name, kind: "mutated", bytes: cut(bytes, decoder) };
    }
    // Now and then it is left as it is: what is valid must be taken.
    const draft = editDraft(decoder.draft(random), random, random.below(4));
    const bytes = decoder.pack?.(draft, this.#writer) ??
      this.#writer.write(draft);
    return { decoder: name, kind: "structured", bytes: cut(bytes, decoder) };
  }

  /** Runs one input: its row, and the code that refuses it. */
  async runCase(
    { decoder: name, bytes }: Omit<CodecCase, "kind">,
  ): Promise<{ row: string; code?: string; ms: number; isReached: boolean }> {
    const decoder = this.#byName.get(name);
    if (!decoder) throw new TypeError(`There is no decoder "${name}"`);
    const copy = bytes.slice();
    let startedMs = performance.now();
    let endedMs: number | undefined;
    const watch = {
      begin: () => void (startedMs = performance.now()),
      end: () => void (endedMs = performance.now()),
    };
    let row: string | undefined;
    let code: string | undefined;
    try {
      const running = decoder.run(bytes, watch);
      row = running instanceof Promise ? await running : running;
    } catch (error) {
      code = refusalCode(error);
      // What was taken is good for what it is taken for.
      if (endedMs !== undefined) throw new FuzzFailure(`taken, then ${error}`);
    }
    const ms = (endedMs ?? performance.now()) - startedMs;
    for (let i = 0; i < bytes.length; i++) {
      if (bytes[i] !== copy[i]) {
        throw new FuzzFailure("a decoder has changed its input");
      }
    }
    if (code === undefined) return { row: row ?? name, ms, isReached: true };
    const peeked = decoder.peek(bytes);
    return { row: peeked ?? name, code, ms, isReached: peeked !== undefined };
  }

  /** What fails with these bytes, if anything does. */
  async failureOf(what: Omit<CodecCase, "kind">): Promise<string | undefined> {
    try {
      await this.runCase(what);
      const ms = await this.timeOf(what);
      return ms > SLOW_MS ? tooSlow(ms) : undefined;
    } catch (error) {
      return messageOf(error);
    }
  }

  /** How long an input takes: see {@linkcode measureAlone}. */
  timeOf(what: Omit<CodecCase, "kind">): Promise<number> {
    return measureAlone(async () => {
      const before = cpuUsage();
      const { ms } = await this.runCase(what);
      const { user, system } = cpuUsage(before);
      return Math.min(ms, (user + system) / 1_000);
    });
  }

  /** Runs the inputs from `from` up to but not `to`. */
  async run({ seed, from, to, onInput }: CodecRun): Promise<CodecResult> {
    const decoders: Tally = {};
    const kinds: Tally = {};
    const found: Found[] = [];
    const slow: SlowCase[] = [];
    let [slowestMs, slowCount, isCut] = [0, 0, false];
    for (
      let index = from;
      index < to && found.length < ENOUGH && !isCut;
      index++
    ) {
      onInput?.(index);
      const input = this.makeCase(seed, index);
      let result;
      try {
        result = await this.runCase(input);
      } catch (error) {
        found.push(toFound(input, messageOf(error)));
        continue;
      }
      if (result.ms <= SLOW_MS) slowestMs = Math.max(slowestMs, result.ms);
      else if (result.ms < HOPELESS_MS) {
        slowCount++;
        isCut = isMostlySlow(slowCount, index - from);
        slow.push({ ...input, ms: result.ms });
        // They are large, so that all of a long run would fill the memory.
        slow.sort((a, b) => b.ms - a.ms).splice(SLOW_KEPT);
      } else found.push(toFound(input, tooSlow(result.ms)));
      for (
        const row of [rowOf(decoders, result.row), rowOf(kinds, input.kind)]
      ) {
        row.frames++;
        if (result.code === undefined) row.accepted++;
        else countRefused(row, result.code);
        if (result.code !== undefined && result.isReached) row.reached++;
      }
    }
    return { decoders, kinds, found, slowestMs, slowCount, slow, isCut };
  }

  #valid(decoder: Decoder, random: SeededRandom): Uint8Array<ArrayBuffer> {
    const draft = decoder.draft(random);
    return decoder.pack?.(draft, this.#writer) ?? this.#writer.write(draft);
  }
}

function cut(
  bytes: Uint8Array<ArrayBuffer>,
  { longest = Infinity }: Decoder,
): Uint8Array<ArrayBuffer> {
  return bytes.length > longest ? bytes.slice(0, longest) : bytes;
}

/** What is said of an input that is slow alone, too. */
export function tooSlow(ms: number): string {
  return `it takes ${ms.toFixed(1)} ms, over the ${SLOW_MS} of a frame`;
}

/** Whether that is what was said, or that there is no end. */
export function isSlow(failure: string): boolean {
  return /^it (takes|does not end) /.test(failure);
}

/** An input as what was found. */
export function toFound(
  { decoder, bytes }: CodecCase,
  failure: string,
): Found {
  return { target: "codec", decoder, hex: [bytes.toHex()], failure };
}

/** The first line of what was thrown, and where from. */
function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.message.split("\n").slice(0, 3).map((line) => line.trim())
    .join(" ");
}
