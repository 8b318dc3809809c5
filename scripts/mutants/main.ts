/**
 * Plants mistakes in the product, one by one, and lets the simulator look for
 * them: `deno task mutants`.
 * `--help` tells all options.
 *
 * @module
 */
import { type Mutant, MUTANTS } from "./mutants.ts";
import { readOptions, usageOf } from "../options.ts";
import { type Finding, ScratchCopy } from "./scratch.ts";

/** A process that has not ended by then never will. */
const TIMEOUT_MS = 10 * 60_000;

const USAGE = `Usage: deno task mutants [option …]

  --histories N  how many histories each may take; 2,000
  --seed S       the first seed; 1
  --jobs J       how many are looked for at once; one for each core
  --only TEXT    those whose name has that text in it; as often as wanted`;

interface Verdict {
  readonly mutant: Mutant;
  readonly finding: Finding;
}

async function main(args: readonly string[]): Promise<number> {
  const options = readOptions(args, {
    numbers: {
      histories: { initial: 2_000, least: 1 },
      seed: { initial: 1, least: 0 },
      jobs: { initial: navigator.hardwareConcurrency, least: 1 },
    },
    texts: ["only"],
  });
  if (typeof options === "string") return refuse(options);
  const { histories, seed, jobs } = options.numbers;
  const { only = [] } = options.texts;
  const unknown = only.find((text) =>
    !MUTANTS.some(({ name }) => name.includes(text))
  );
  if (unknown !== undefined) return refuse(`No mistake is named "${unknown}"`);
  const mutants = MUTANTS.filter(({ name }) =>
    only.length === 0 || only.some((text) => name.includes(text))
  );
  const verdicts: Verdict[] = [];
  const left = [...mutants];
  const many = `${mutants.length} mistake${mutants.length === 1 ? "" : "s"}`;
  const each = `${histories} histor${histories === 1 ? "y" : "ies"} each`;
  console.log(`${many}, ${each}`);
  const run = async () => {
    await using scratch = await ScratchCopy.make();
    for (let mutant = left.shift(); mutant; mutant = left.shift()) {
      const remove = await scratch.plant(mutant);
      const options = { seed, histories, timeoutMs: TIMEOUT_MS };
      const finding = await scratch.findFailure(options);
      await remove();
      verdicts.push({ mutant, finding });
      console.log(rowOf({ mutant, finding }));
    }
  };
  const threads = Math.min(jobs, mutants.length);
  await Promise.all(Array.from({ length: threads }, run));
  console.log("");
  console.log(summaryOf(verdicts));
  const isAllCaught = verdicts.every(({ finding }) => isCaught(finding));
  return isAllCaught ? 0 : 1;
}

function refuse(wrong: string): number {
  console.log(usageOf(USAGE, wrong));
  return 2;
}

function isCaught({ kind }: Finding): boolean {
  return kind === "check" || kind === "death";
}

function summaryOf(verdicts: readonly Verdict[]): string {
  const count = (...kinds: readonly Finding["kind"][]) =>
    verdicts.filter(({ finding }) => kinds.includes(finding.kind)).length;
  const tries = verdicts.filter(({ finding }) => isCaught(finding))
    .map(({ finding }) => finding.after).sort((a, b) => a - b);
  const rows: [string, number | string][] = [
    ["planted", verdicts.length],
    ["caught by a check", count("check")],
    ["caught by a death", count("death")],
    ["survived", count("survived")],
    ["not looked for", count("late", "tool")],
    ["histories, median", tries[tries.length >> 1] ?? "–"],
    ["histories, most", tries.at(-1) ?? "–"],
  ];
  return rows.map(([what, number]) =>
    `${what.padEnd(20)}${String(number).padStart(6)}`
  ).join("\n");
}

function rowOf({ mutant, finding }: Verdict): string {
  const after = isCaught(finding) ? String(finding.after) : "–";
  const said = finding.failure.split("\n")[0] ?? "";
  const what = {
    check: said,
    death: `DIED: ${said}`,
    survived: "SURVIVED",
    late: "NO END within its time",
    tool: `CANNOT RUN: ${said}`,
  }[finding.kind];
  return `${after.padStart(5)}  ${mutant.name.padEnd(70)}  ${short(what)}`;
}

function short(text: string): string {
  return text.length > 90 ? `${text.slice(0, 89)}…` : text;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
