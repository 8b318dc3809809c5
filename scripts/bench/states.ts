/**
 * The states that are shared in the bench.
 *
 * @module
 */

/** One item of a board. */
export interface Item {
  id: number;
  title: string;
  done: boolean;
  n: number;
  owner: string;
}

/** A shared list. */
export interface Board {
  title: string;
  items: Item[];
}

/** Cells, one for each call that is in flight, so that no change makes another one superfluous. */
export interface Grid {
  cells: number[][];
}

/** One long text. */
export interface Page {
  text: string;
}

const WORDS = [
  "amber",
  "birch",
  "cedar",
  "dune",
  "ember",
  "fjord",
  "grove",
  "heath",
  "islet",
  "juniper",
];

/** A board; 20 items are about 2 KB of JSON, 10,000 about 1 MB. */
export function makeBoard(items: number): Board {
  return {
    title: "Shared board",
    items: Array.from({ length: items }, (_, id) => ({
      id,
      title: `${WORDS[id % 10]} ${WORDS[(id * 7) % 10]} and ${
        WORDS[(id * 3) % 10]
      } on page ${id}`,
      done: id % 3 === 0,
      n: 0,
      owner: `person ${id % 50}`,
    })),
  };
}

/** A grid of zeros. */
export function makeGrid(rows: number, columns: number): Grid {
  return {
    cells: Array.from(
      { length: rows },
      () => new Array<number>(columns).fill(0),
    ),
  };
}

/** A text of that many characters which is another one for each `n`. */
export function makeText(characters: number, n: number): string {
  return `${n} `.padEnd(characters, `lorem ipsum ${n} `);
}
