import { useState } from "react";
import { useMutation, useStore } from "./hooks.ts";

/** Where one writes what is to be done; what is added shows at once, offline too. */
export function AddTodo() {
  const [text, setText] = useState("");
  const { isPending } = useStore("Todos", ({ items }) => items.length);
  const addTodo = useMutation("addTodo");
  const add = () => {
    void addTodo({ text });
    setText("");
  };
  return (
    <form className="add" action={add}>
      <input
        aria-label="What is to be done?"
        placeholder="What is to be done?"
        autoComplete="off"
        maxLength={200}
        value={text}
        onChange={({ target }) => setText(target.value)}
      />
      <button type="submit" disabled={isPending || text.trim() === ""}>
        Add
      </button>
    </form>
  );
}
