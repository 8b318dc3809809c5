/**
 * What the start page shows: a counter and a todo list, as stores and functions.
 *
 * @module
 */
import { HeadwaterError } from "../protocol/errors.ts";
import type { Page } from "../server/http/routes.ts";
import { START_PAGE } from "../server/http/start_page.ts";
import type { Server } from "../server/server.ts";

/** The start page, for the option `pages` of `createServer()`. */
export const START_PAGES: Readonly<Record<string, Page>> = {
  "/": { body: START_PAGE, type: "text/html; charset=utf-8" },
};

/** State of the store "Counter". */
export interface Counter {
  /** The shared number. */
  count: number;
}

/** One item of the store "Todos". */
export interface Todo {
  /** Unique to the item. */
  id: string;
  /** What is to be done. */
  text: string;
  /** Whether it is done. */
  done: boolean;
}

/** State of the store "Todos". */
export interface Todos {
  /** In the order in which they were added. */
  items: Todo[];
}

const TEXT_LENGTH = 200;
const ITEMS = 500;
const STEP = 1_000_000;

/** Gives `server` the stores and functions of the start page. */
export function defineStartApp(server: Server): void {
  const counter = server.createStore<Counter>("Counter", { count: 0 });
  const todos = server.createStore<Todos>("Todos", { items: [] });

  server.handle("counter.add", async (args) => {
    const by = integerArgument("counter.add", args, "by");
    const { value } = await counter.update((draft) => {
      draft.count = clampCount(draft.count + by);
      return draft.count;
    });
    return { count: value };
  });

  server.handle("todos.add", async (args, ctx) => {
    const text = textArgument("todos.add", args, "text");
    const id = ctx.id();
    await todos.update((draft) => {
      if (draft.items.length >= ITEMS) {
        throw new HeadwaterError(
          "limit",
          `Cannot add: the list holds ${ITEMS} items; remove some first`,
        );
      }
      draft.items.push({ id, text, done: false });
    });
    return { id };
  });

  server.handle("todos.toggle", async (args) => {
    const id = textArgument("todos.toggle", args, "id");
    const { value } = await todos.update((draft) => {
      const todo = draft.items.find((item) => item.id === id);
      if (todo === undefined) {
        throw new HeadwaterError(
          "bad_value",
          "Cannot toggle: the item was removed",
        );
      }
      todo.done = !todo.done;
      return todo.done;
    });
    return { done: value };
  });

  server.handle("todos.remove", async (args) => {
    const id = textArgument("todos.remove", args, "id");
    const { value } = await todos.update((draft) => {
      const index = draft.items.findIndex((item) => item.id === id);
      if (index >= 0) draft.items.splice(index, 1);
      return index >= 0;
    });
    return { removed: value };
  });
}

/** Two tabs that hold a button down must not end in numbers that lose digits. */
function clampCount(count: number): number {
  return Math.max(
    -Number.MAX_SAFE_INTEGER,
    Math.min(Number.MAX_SAFE_INTEGER, count),
  );
}

function argument(args: unknown, field: string): unknown {
  return typeof args === "object" && args !== null
    ? Reflect.get(args, field)
    : undefined;
}

function integerArgument(name: string, args: unknown, field: string): number {
  const value = argument(args, field);
  if (
    typeof value === "number" && Number.isInteger(value) &&
    Math.abs(value) <= STEP
  ) return value;
  throw new HeadwaterError(
    "bad_value",
    `Cannot call "${name}": "${field}" must be an integer from -${STEP} to ${STEP}`,
    { path: `/${field}` },
  );
}

function textArgument(name: string, args: unknown, field: string): string {
  const value = argument(args, field);
  const text = typeof value === "string" ? value.trim() : "";
  if (text !== "" && text.length <= TEXT_LENGTH) return text;
  throw new HeadwaterError(
    "bad_value",
    `Cannot call "${name}": "${field}" must be a text of 1 to ${TEXT_LENGTH} characters`,
    { path: `/${field}` },
  );
}
