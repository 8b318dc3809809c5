/**
 * Plants mistakes in the product, one by one, and lets the simulator look for
 * them: `deno task mutants`.
 *
 * - `--histories N`: how many histories each may take; 2,000
 * - `--seed S`: the first seed; 1
 * - `--jobs J`: how many are looked for at once; one for each core
 * - `--only TEXT`: those whose name has that text in it; as often as wanted
 *
 * @module
 */
import { type Mutant, MUTANTS } from "./mutants.ts";
import { ScratchCopy } from "./scratch.ts";

/** A process that has not ended by then never will. */
const TIMEOUT_MS = 10 * 60_000;

interface Verdict {
  readonly mutant: Mutant;
  readonly caught: { after: number; failure: string } | undefined;
}

async function main(args: readonly string[]): Promise<number> {
  const { histories, seed, jobs, only } = readOptions(args);
  const mutants = MUTANTS.filter(({ name }) =>
    only.length === 0 || only.some((text) => name.includes(text))
  );
  const verdicts: Verdict[] = [];
  const left = [...mutants];
  console.log(`${mutants.length} mistakes, ${histories} histories each`);
  const run = async () => {
    await using scratch = await ScratchCopy.make();
    for (let mutant = left.shift(); mutant; mutant = left.shift()) {
      const remove = await scratch.plant(mutant);
      const options = { seed, histories, timeoutMs: TIMEOUT_MS };
      const caught = await scratch.findFailure(options);
      await remove();
      verdicts.push({ mutant, caught });
      console.log(rowOf({ mutant, caught }));
    }
  };
  await Promise.all(Array.from({ length: jobs }, run));
  const survivors = verdicts.filter(({ caught }) => !caught);
  const tries = verdicts.flatMap(({ caught }) => caught ? [caught.after] : [])
    .sort((a, b) => a - b);
  console.log("");
  console.log(`planted    ${String(verdicts.length).padStart(6)}`);
  console.log(`caught     ${String(tries.length).padStart(6)}`);
  console.log(`survived   ${String(survivors.length).padStart(6)}`);
  console.log(
    `histories  ${
      String(tries[tries.length >> 1] ?? 0).padStart(6)
    } (median), ${tries.at(-1) ?? 0} (most)`,
  );
  return survivors.length > 0 ? 1 : 0;
}

function readOptions(args: readonly string[]) {
  const numbers = {
    histories: 2_000,
    seed: 1,
    jobs: navigator.hardwareConcurrency,
  };
  const only: string[] = [];
  for (let index = 0; index < args.length; index += 2) {
    const [option = "", value = ""] = args.slice(index, index + 2);
    const name = option.replace(/^--/, "");
    if (name === "only" && value) only.push(value);
    else if (isNumberOption(name) && /^\d+$/.test(value)) {
      numbers[name] = Number(value);
    } else {
      throw new TypeError(
        `Cannot read "${option} ${value}": options are --histories N, --seed S, --jobs J, --only TEXT`,
      );
    }
  }
  return { ...numbers, only };

  function isNumberOption(name: string): name is keyof typeof numbers {
    return name in numbers;
  }
}

function rowOf({ mutant, caught }: Verdict): string {
  const after = caught ? String(caught.after).padStart(5) : "    –";
  const failure = caught ? caught.failure.split("\n")[0] : "SURVIVED";
  return `${after}  ${mutant.name.padEnd(70)}  ${short(failure ?? "")}`;
}

function short(text: string): string {
  return text.length > 90 ? `${text.slice(0, 89)}…` : text;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
