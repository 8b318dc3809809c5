/** One item of the store "Todos". */
export interface Todo {
  id: string;
  text: string;
  done: boolean;
}

/** State of the store "Todos". */
export interface Todos {
  items: Todo[];
}

/** One message of a room. */
export interface Message {
  text: string;
}

/** State of a store "Room:*". */
export interface Room {
  messages: Message[];
}

/** What the event "finished" says. */
export interface Finished {
  text: string;
  /** The client that has finished it. */
  by: string;
}
