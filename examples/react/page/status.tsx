import { useState } from "react";
import { useEvent, useStatus } from "./hooks.ts";

const WORDS = {
  idle: "Connecting",
  connecting: "Connecting",
  connected: "Live",
  reconnecting: "Offline: what you do is kept",
  closed: "Closed",
};

/** Where the connection stands. */
export function Status() {
  const status = useStatus();
  return <p className={`status ${status}`} role="status">{WORDS[status]}</p>;
}

/** What went wrong last, until something else is clicked. */
export function Notice() {
  const [text, setText] = useState("");
  useEvent("error", (error) => setText(error.message));
  if (text === "") return null;
  return (
    <p className="notice" role="alert">
      {text}
      <button type="button" onClick={() => setText("")}>Close</button>
    </p>
  );
}
