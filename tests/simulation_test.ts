/** Thousands of simulated histories, each of which must keep every promise. */
import assert from "node:assert/strict";
import { commandOf, soak } from "./simulation/soak.ts";

const HISTORIES = 5_000;
/** Any number will do; a fixed one keeps a green run green. */
const SEED = 1;

/** What must have happened in all of them, and go wrong: about half of what does. */
const LEAST = {
  ownAcknowledged: 40_000,
  readYourWrites: 80_000,
  rebases: 50_000,
  conflicts: 1_600,
  accessChanges: 1_000,
  refusals: 1_400,
  lostMessages: 1_000,
  doubledMessages: 5_000,
  refusedConnections: 6_000,
  cuts: 8_000,
  clockJumps: 110,
  expiries: 1_500,
  compactions: 4_500,
  restarts: 1_500,
  suspensions: 300,
  brokenWatches: 400,
};

Deno.test(`Simulator: ${HISTORIES} histories keep every promise`, async () => {
  const { histories, failures, figures } = await soak({
    seed: SEED,
    histories: HISTORIES,
    jobs: navigator.hardwareConcurrency,
    stopsAtFailure: true,
  });
  const told = failures.map((failure) =>
    `Seed ${failure.seed}: ${failure.failure}\n  ${commandOf(failure)}`
  );
  assert.equal(told.length, 0, told.join("\n"));
  assert.equal(histories, HISTORIES);
  // A simulation in which little happens would pass, too.
  assert.ok(figures.acknowledged > 10 * HISTORIES, JSON.stringify(figures));
  assert.ok(figures.shown > 10 * HISTORIES, JSON.stringify(figures));
  for (const [name, least] of Object.entries(LEAST)) {
    const figure = figures[name as keyof typeof LEAST]; // one of its keys
    assert.ok(figure >= least, `${name}: ${figure} of ${least}`);
  }
});
