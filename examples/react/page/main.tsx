/**
 * The page: a provider, and components that each look at a part of the store.
 *
 * @module
 */
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { byId } from "../../elements.ts";
import { app } from "../contract.ts";
import { AddTodo } from "./add_todo.tsx";
import { HeadwaterProvider } from "./hooks.ts";
import { Notice, Status } from "./status.tsx";
import { TodoList } from "./todo_list.tsx";

createRoot(byId("root")).render(
  <StrictMode>
    <HeadwaterProvider url={location.origin} options={{ app }}>
      <header>
        <h1>Todos</h1>
        <Status />
      </header>
      <main>
        <AddTodo />
        <TodoList />
      </main>
      <Notice />
    </HeadwaterProvider>
  </StrictMode>,
);
