import { memo, useState } from "react";
import type { Todo } from "../contract.ts";
import { useMutation, useStore } from "./hooks.ts";

const FILTERS = { all: "All", open: "Open", done: "Done" } as const;

/** The list, and what is shown of it. */
export function TodoList() {
  const [filter, setFilter] = useState<keyof typeof FILTERS>("all");
  const { data, error, isPending } = useStore("Todos", ({ items }) => items);
  if (isPending) return <p className="empty">One moment …</p>;
  if (error) return <p className="empty">{error.message}</p>;
  const shown = data.filter(({ isDone }) =>
    filter === "all" || isDone === (filter === "done")
  );
  return (
    <>
      <ul className="todos">
        {shown.map((todo) => <TodoItem key={todo.id} todo={todo} />)}
      </ul>
      {shown.length === 0 && <p className="empty">Nothing here</p>}
      <footer>
        <Count />
        <div className="filters" role="group" aria-label="Show">
          {(Object.keys(FILTERS) as (keyof typeof FILTERS)[]).map((name) => (
            <button
              key={name}
              type="button"
              aria-pressed={name === filter}
              onClick={() => setFilter(name)}
            >
              {FILTERS[name]}
            </button>
          ))}
        </div>
        <Clear />
      </footer>
    </>
  );
}

/** Rendered again when this item changes, and no other: the rest of the state stays the same objects. */
const TodoItem = memo(function TodoItem({ todo }: { todo: Todo }) {
  const setDone = useMutation("setDone");
  return (
    <li>
      <label>
        <input
          type="checkbox"
          checked={todo.isDone}
          onChange={({ target }) =>
            void setDone({ id: todo.id, isDone: target.checked })}
        />
        <span>{todo.text}</span>
      </label>
    </li>
  );
});

function Count() {
  const { data = 0 } = useStore(
    "Todos",
    ({ items }) => items.filter(({ isDone }) => !isDone).length,
  );
  return (
    <p className="count">{data === 1 ? "1 is open" : `${data} are open`}</p>
  );
}

function Clear() {
  const clearDone = useMutation("clearDone");
  const { data } = useStore(
    "Todos",
    ({ items }) => items.some(({ isDone }) => isDone),
  );
  return (
    <button
      type="button"
      disabled={!data}
      onClick={() => void clearDone()}
    >
      Remove what is done
    </button>
  );
}
