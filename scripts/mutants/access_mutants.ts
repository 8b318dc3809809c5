/**
 * Mistakes in who may read and write what, once that has changed.
 *
 * @module
 */
import type { Mutant } from "./mutants.ts";

/** All of them. */
export const ACCESS_MUTANTS: readonly Mutant[] = [
  {
    name: "what may not be read any more is still sent",
    edits: [{
      file: "server/access.ts",
      find:
        "      if (refusal) return connection.end(subscription, refusal);\n      try {",
      replace:
        "      if (refusal && connection.isClosed) return connection.end(subscription, refusal);\n      try {",
    }],
  },
  {
    name: "the rules are not applied anew when another token is shown",
    edits: [{
      file: "server/router.ts",
      find: "if (isAgain) await access.review(connection);",
      replace: "void isAgain;",
    }],
  },
  {
    name: "a revocation is heeded by its own server alone",
    edits: [{
      file: "server/revocations.ts",
      find:
        "const isNew = ([id]: [string, Revocation]) => !this.#known.has(id);",
      replace: 'const isNew = ([id]: [string, Revocation]) => id === "";',
    }],
  },
  {
    name: "a server that is cut off from the KV serves on",
    edits: [{
      file: "server/revocations.ts",
      find: "this.#deadline = clock.setTimer(leftMs, () => listener.lost());",
      replace:
        "this.#deadline = clock.setTimer(leftMs, () => {}); void listener;",
    }],
  },
  {
    name: "a revocation that comes while somebody is let in is missed",
    edits: [{
      file: "server/access.ts",
      find: "if (!isRevoked && !isLost && !connection.isClosed) {",
      replace: "void isRevoked; if (!isLost && !connection.isClosed) {",
    }],
  },
  {
    name: "who is asked again is asked by the token of the first hello",
    edits: [{
      file: "server/access.ts",
      find: "proof.token = hello.token ?? proof.token;",
      replace: "proof.token ??= hello.token;",
    }],
  },
  {
    name: "clients may write whatever the store says",
    edits: [{
      file: "server/write_parts.ts",
      find: "if (refusal) {",
      replace: "if (refusal && !clientId) {",
    }],
  },
  {
    name:
      "who may not write any more is told that the first time was not applied",
    edits: [{
      file: "server/writes.ts",
      find:
        '      ...(code === "forbidden" && { doubtful: encode("unknown") }),\n',
      replace: "",
    }],
  },
];
