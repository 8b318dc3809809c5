/**
 * One history: a world that is drawn from a seed, moves, rest, checks, end.
 *
 * @module
 */
import { createSimulation } from "../../adapters/testing/mod.ts";
import { Breach } from "./breach.ts";
import { settleAndCheck } from "./checks.ts";
import { type Faults, NO_FAULTS } from "./faults.ts";
import { makeMove } from "./moves.ts";
import { drawPlan } from "./plan.ts";
import { World } from "./world.ts";

/** What one history was made of. */
export interface HistoryFigures extends Faults {
  events: number;
  commits: number;
  /** Writes that were acknowledged. */
  acknowledged: number;
  /** Of them, those that clients have made themselves. */
  ownAcknowledged: number;
  /** States that clients were shown. */
  shown: number;
  /** Answers to writes that were compared with what their caller is shown. */
  readYourWrites: number;
}

/** Nothing has happened. */
export const NO_FIGURES: Readonly<HistoryFigures> = {
  ...NO_FAULTS,
  events: 0,
  commits: 0,
  acknowledged: 0,
  ownAcknowledged: 0,
  shown: 0,
  readYourWrites: 0,
};

/** A history in which a promise was broken. */
export class FailedHistory extends Error {
  override readonly name = "FailedHistory";
  readonly seed: number;
  readonly trace: readonly string[];

  /** `cause` is what was noticed. */
  constructor(seed: number, cause: unknown, trace: readonly string[]) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.seed = seed;
    this.trace = trace;
  }
}

/**
 * Runs the history of a seed.
 *
 * @throws {FailedHistory} if a promise is broken.
 */
export async function runHistory(seed: number): Promise<HistoryFigures> {
  const simulation = createSimulation({ seed });
  const plan = drawPlan(simulation.random);
  const world = new World(simulation, plan);
  const onRejection = (event: PromiseRejectionEvent) => {
    event.preventDefault();
    world.fail(
      new Breach(
        `A rejection was not handled: ${event.reason?.stack ?? event.reason}`,
      ),
    );
  };
  // Thrown by a timer or a listener of the runtime's it would end the thread, and with
  // it every history that the thread has run.
  const onError = (event: ErrorEvent) => {
    event.preventDefault();
    const { error, message } = event;
    world.fail(
      new Breach(`An exception was not caught: ${error?.stack ?? message}`),
    );
  };
  globalThis.addEventListener("unhandledrejection", onRejection);
  globalThis.addEventListener("error", onError);
  try {
    world.note(`the plan is ${JSON.stringify(plan)}`);
    await live(world);
    await settleAndCheck(world);
    for (const person of [...world.people]) world.clients.leave(person);
    await simulation.close();
    world.check();
  } catch (error) {
    throw new FailedHistory(seed, error, world.trace);
  } finally {
    globalThis.removeEventListener("unhandledrejection", onRejection);
    globalThis.removeEventListener("error", onError);
  }
  return {
    events: simulation.clock.eventCount,
    commits: world.truth.commits,
    acknowledged: world.writes.acknowledged,
    ownAcknowledged: world.writes.ownAcknowledged,
    shown: world.shown,
    readYourWrites: world.readYourWrites,
    ...world.allFaults,
  };
}

async function live(world: World): Promise<void> {
  const { plan, random } = world;
  world.launchAll();
  for (let client = 0; client < plan.clients; client++) {
    const person = world.clients.enter();
    for (const store of plan.stores) {
      if (random.chance(0.5)) world.clients.look(person, store);
    }
  }
  if (random.chance(0.7)) await world.simulation.advance(100);
  for (let move = 0; move < plan.moves; move++) {
    await makeMove(world);
    world.check();
  }
}
