/** State of the store "Counter". */
export interface Counter {
  readonly count: number;
}

/** One item of the store "Todos". */
export interface Todo {
  readonly id: string;
  readonly text: string;
  readonly done: boolean;
}

/** State of the store "Todos". */
export interface Todos {
  readonly items: readonly Todo[];
}
