/**
 * The checks of values, names and patches.
 *
 * @module
 */
import { decodeJson, encodeJson } from "../../protocol/codec.ts";
import { isMap } from "../../protocol/frame_fields.ts";
import { fromJsonPatch } from "../../protocol/json_patch.ts";
import { DEFAULT_LIMITS } from "../../protocol/limits.ts";
import { applyPatch, invertPatch } from "../../protocol/patch.ts";
import { decodePatch, encodePatch } from "../../protocol/patch_codec.ts";
import {
  cleanName,
  cleanValue,
  equalValues,
  freezeDeep,
  type Json,
} from "../../protocol/value.ts";
import {
  randomJson,
  randomObject,
  randomOperations,
  randomPatch,
  type SeededRandom,
} from "../../tests/_arbitraries.ts";
import { FuzzFailure } from "./contract.ts";
import { type Decoder, peekValue, type StopWatch } from "./decoder.ts";
import { toDraft } from "./draft.ts";
import { randomStrange, toStrange } from "./strange_values.ts";
import { HOSTILE_TEXTS } from "./wrong_values.ts";

/** Every check of values. */
export function valueDecoders(): Decoder[] {
  return [
    decoder("value", (random) => randomJson(random, 4), (json, watch) => {
      watch.end();
      checkShared(json, json);
    }),
    decoder(
      "value in memory",
      (random) => randomStrange(random, 3),
      (json, watch) => {
        const strange = toStrange(json);
        watch.begin();
        const value = cleanValue(strange);
        watch.end();
        checkShared(value, undefined);
      },
    ),
    decoder("name", (random) => random.pick(HOSTILE_TEXTS), (json) => {
      const name = cleanName(json, "the name", DEFAULT_LIMITS.nameLength);
      if (cleanName(name, "the name", DEFAULT_LIMITS.nameLength) !== name) {
        throw new FuzzFailure(
          "a name that was taken is not in its normal form",
        );
      }
    }),
    decoder("patch", patchInput, ({ state, steps }, watch) => {
      takePatch(state, steps, watch);
    }, toInput),
    decoder("json patch", jsonPatchInput, ({ state, steps }, watch) => {
      freezeDeep(state); // a change in place throws
      watch.begin();
      const { state: after, patch } = fromJsonPatch(state, steps);
      watch.end();
      if (!equalValues(applyPatch(state, patch), after)) {
        throw new FuzzFailure("a JSON Patch and its compact form differ");
      }
    }, toInput),
  ];
}

function decoder(
  name: string,
  sample: (random: SeededRandom) => Json,
  take: (json: Json, watch: StopWatch) => void,
): Decoder;
function decoder<T>(
  name: string,
  sample: (random: SeededRandom) => Json,
  take: (input: T, watch: StopWatch) => void,
  parse: (json: Json) => T,
): Decoder;
function decoder<T>(
  name: string,
  sample: (random: SeededRandom) => Json,
  take: (input: T, watch: StopWatch) => void,
  parse?: (json: Json) => T,
): Decoder {
  return {
    name,
    draft: (random) => toDraft(sample(random)),
    run(bytes, watch) {
      const json = decodeJson(bytes, DEFAULT_LIMITS);
      // Without `parse` the input is the value itself, by the overloads.
      take(parse ? parse(json) : json as T, watch);
      return undefined;
    },
    peek: (bytes) => peekValue(bytes, name),
  };
}

/** What was taken must be the same in memory and in bytes. */
function checkShared(value: Json, original: Json | undefined): void {
  const again = decodeJson(encodeJson(value));
  if (!equalValues(value, again)) {
    throw new FuzzFailure("a value that was taken is another one in bytes");
  }
  if (original !== undefined && !equalValues(cleanValue(original), value)) {
    throw new FuzzFailure("the codec takes what cleanValue() changes");
  }
}

/** A state and steps that may fit it; anything else stands for steps alone. */
function toInput(json: Json): { state: Json; steps: Json | undefined } {
  return isMap(json)
    ? { state: json["s"] ?? null, steps: json["p"] }
    : { state: null, steps: json };
}

function patchInput(random: SeededRandom): Json {
  return random.below(2) === 0 ? arrayInput(random) : anyPatchInput(random);
}

/** Steps at the ends of an array, inside and just outside. */
function arrayInput(random: SeededRandom): Json {
  const items = Array.from({ length: random.below(4) }, (_, at) => at);
  const steps = Array.from({ length: 1 + random.below(3) }, (): Json[] => {
    const path = ["items", random.below(items.length + 3)];
    switch (random.below(3)) {
      case 0:
        return [path, "replaced"];
      case 1:
        return [1, path, "added"];
      default:
        return [2, path];
    }
  });
  return { s: { items }, p: steps.flat() };
}

function anyPatchInput(random: SeededRandom): Json {
  const state = { ...randomObject(random, 3), items: [1, { a: 2 }] };
  return { s: state, p: encodePatch(randomPatch(random, state, 4)) };
}

function jsonPatchInput(random: SeededRandom): Json {
  const state = { ...randomObject(random, 3), items: [1, { a: 2 }] };
  return { s: state, p: randomOperations(random, state) };
}

function takePatch(
  state: Json,
  steps: Json | undefined,
  watch: StopWatch,
): void {
  freezeDeep(state); // a change in place throws
  watch.begin();
  const patch = decodePatch(steps);
  const after = applyPatch(state, patch, { freeze: true });
  watch.end();
  const back = applyPatch(after, invertPatch(state, patch));
  if (!equalValues(back, state)) {
    throw new FuzzFailure("the inverse of a patch does not lead back");
  }
  checkArrays(after);
}

/** An index beyond the end leaves holes. */
function checkArrays(value: Json): void {
  if (typeof value !== "object" || value === null) return;
  if (!Array.isArray(value)) return Object.values(value).forEach(checkArrays);
  if (Object.keys(value).length !== value.length) {
    throw new FuzzFailure("a patch has left a hole in an array");
  }
  value.forEach(checkArrays);
}
