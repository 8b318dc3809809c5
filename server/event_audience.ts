/**
 * Whom an event is for: checked, since a target that is passed over would send to everybody
 * what is meant for one.
 *
 * @module
 */
import { HeadwaterError } from "../protocol/errors.ts";
import { shown } from "../protocol/shown.ts";
import { cleanName } from "../protocol/value.ts";
import type { EventAudience } from "./log/event_record.ts";
import type { Definitions } from "./stores/definitions.ts";

/** Whom `Server.emit()` sends to: who fits all that is given, everybody by default. */
export interface EmitOptions {
  /** One client. */
  readonly clientId?: string;
  /** Every client of one user: whose `id` it is, or who is that string or number. */
  readonly userId?: string | number;
  /** Who is subscribed to the store of that full name. */
  readonly store?: string;
  /** A client that does not get it, or several; such as the one that caused it. */
  readonly except?: string | readonly string[];
}

type Check = (value: unknown) => boolean;

/** What each target takes. */
const TARGETS: Readonly<Record<keyof EmitOptions, readonly [Check, string]>> = {
  clientId: [isText, "the id of one client, a string"],
  userId: [
    (value) => isText(value) || Number.isFinite(value),
    "the id of one user, a string or a number",
  ],
  store: [() => true, "the full name of a store"],
  except: [
    (value) =>
      value === undefined || isText(value) ||
      Array.isArray(value) && value.every(isText),
    "the id of a client, or an array of them",
  ],
};

/**
 * The audience that options of `Server.emit()` describe.
 *
 * @throws {TypeError} if there is no such target, or it is of another kind.
 * @throws {HeadwaterError} `bad_name` if the store's name cannot be one, or `store_missing`
 * if it is that of no store that is defined.
 */
export function toAudience(
  options: EmitOptions,
  { channel, definitions, nameLength }: {
    readonly channel: string;
    readonly definitions: Pick<Definitions, "find">;
    readonly nameLength: number;
  },
): EventAudience {
  const action = `Cannot emit "${channel}"`;
  const given: unknown = options;
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw new TypeError(
      `${action} to ${
        shown(given)
      }: its target must be an object with ${NAMES}`,
    );
  }
  for (const [target, value] of Object.entries(options)) {
    const [accepts, what] = Object.hasOwn(TARGETS, target)
      ? TARGETS[target as keyof EmitOptions] // it is one of them
      : [];
    if (!accepts) {
      throw new TypeError(
        `${action}: there is no target ${shown(target)}; there are ${NAMES}`,
      );
    }
    if (!accepts(value)) {
      throw new TypeError(
        `${action}: ${target} must be ${what}, not ${shown(value)}`,
      );
    }
  }
  const { clientId, userId, except } = options;
  const store = "store" in options
    ? cleanName(options.store, "store", nameLength)
    : undefined;
  if (store !== undefined && !definitions.find(store)) {
    throw new HeadwaterError(
      "store_missing",
      `${action} to the subscribers of "${store}": ${
        store.endsWith("*")
          ? "it must be the full name of one store"
          : "no store is defined for that name"
      }`,
    );
  }
  return {
    ...(clientId !== undefined && { clientId }),
    ...(userId !== undefined && { userId: String(userId) }),
    ...(store !== undefined && { store }),
    ...(except !== undefined && {
      except: typeof except === "string" ? [except] : [...except],
    }),
  };
}

const NAMES = Object.keys(TARGETS).join(", ");

function isText(value: unknown): value is string {
  return typeof value === "string";
}
