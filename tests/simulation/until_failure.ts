/**
 * Runs histories until one fails: `until_failure.ts SEED HISTORIES`. Prints, as lines
 * of JSON, how many there have been, and last what failed; ends with 1 if one did.
 *
 * @module
 */
import { FailedHistory, runHistory } from "./history.ts";

const [seed = 1, histories = 1] = Deno.args.map(Number);
// Whoever started it knows now that it runs.
console.log(JSON.stringify({ after: 0 }));
for (let after = 1; after <= histories; after++) {
  try {
    await runHistory(seed + after - 1);
  } catch (error) {
    if (!(error instanceof FailedHistory)) throw error;
    console.log(JSON.stringify({ after, failure: error.message }));
    Deno.exit(1);
  }
  if (after % 10 === 0) console.log(JSON.stringify({ after }));
}
