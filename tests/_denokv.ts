/**
 * Tests on `denokv`, the KV that several processes share over the network.
 * Where the program is missing they are ignored, by a name that says so; in CI
 * it is there.
 *
 * @module
 */
import { Denokv, findDenokv } from "../scripts/bench/denokv.ts";

export { Denokv };

/** Whether the tests on denokv can run. */
export const HAS_DENOKV = findDenokv() !== undefined;

/** Registers a test that gets an empty denokv of its own, and may open it in this process. */
export function denokvTest(
  claim: string,
  run: (denokv: Denokv) => Promise<void>,
): void {
  Deno.test({
    name: HAS_DENOKV ? claim : `${claim} (denokv is not installed)`,
    ignore: !HAS_DENOKV,
    fn: async () => {
      await using denokv = await Denokv.start();
      using _ = giveToken(denokv);
      await run(denokv);
    },
  });
}

/** Lets this process open denokv until it is disposed of: Deno reads the token from the environment. */
export function giveToken({ env }: Denokv): Disposable {
  const before = Object.keys(env).map((name) =>
    [name, Deno.env.get(name)] as const
  );
  for (const [name, value] of Object.entries(env)) Deno.env.set(name, value);
  return {
    [Symbol.dispose]() {
      for (const [name, value] of before) {
        if (value === undefined) Deno.env.delete(name);
        else Deno.env.set(name, value);
      }
    },
  };
}
