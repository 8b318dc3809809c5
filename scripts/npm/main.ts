/**
 * Builds the npm package, packs it, installs it in fresh folders, and tries there
 * what it promises; prints a table of that.
 *
 * Run it by `deno task npm`; `--only NAME` tries one thing.
 *
 * @module
 */
import { basename, join } from "node:path";
import { buildNpm } from "../build_npm.ts";
import { readOptions, usageOf } from "../options.ts";
import type { Check } from "./check.ts";
import { across } from "./checks/across.ts";
import { contracts } from "./checks/contracts.ts";
import { endings } from "./checks/endings.ts";
import { files } from "./checks/files.ts";
import { frameworks } from "./checks/frameworks.ts";
import { page } from "./checks/page.ts";
import { peers } from "./checks/peers.ts";
import { program } from "./checks/program.ts";
import { publicEntries } from "./checks/public_entries.ts";
import { readmeExpress } from "./checks/readme_express.ts";
import { readmeNode } from "./checks/readme_node.ts";
import { readmeReact } from "./checks/readme_react.ts";
import { todo } from "./checks/todo.ts";
import { types } from "./checks/types.ts";
import { Consumer, Lab } from "./lab.ts";
import { inKilobytes } from "./sizes.ts";

const CHECKS: readonly Check[] = [
  publicEntries,
  types,
  page,
  todo,
  program,
  frameworks,
  endings,
  files,
  across,
  peers,
  contracts,
  readmeNode,
  readmeExpress,
  readmeReact,
];

const USAGE = `Usage: deno task npm [--only NAME]

${CHECKS.map(({ name, claim }) => `  ${name.padEnd(15)}${claim}`).join("\n")}`;

interface Result {
  readonly check: Check;
  readonly seconds: number;
  readonly detail: string;
  readonly error?: unknown;
}

async function main(): Promise<number> {
  const options = readOptions(Deno.args, { numbers: {}, texts: ["only"] });
  const only = typeof options === "string" ? [] : options.texts["only"] ?? [];
  const unknown = only.find((name) => !CHECKS.some((one) => one.name === name));
  if (typeof options === "string" || unknown !== undefined) {
    console.error(
      usageOf(
        USAGE,
        typeof options === "string"
          ? options
          : `there is no check "${unknown}"`,
      ),
    );
    return 2;
  }
  const folder = await Deno.realPath(
    await Deno.makeTempDir({ prefix: "headwater_npm_" }),
  );
  try {
    const lab = await prepare(folder);
    const results: Result[] = [];
    for (const check of CHECKS) {
      if (only.length > 0 && !only.includes(check.name)) continue;
      results.push(await tryOut(check, lab));
    }
    return report(results);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Builds and packs. */
async function prepare(folder: string): Promise<Lab> {
  const root = join(import.meta.dirname ?? ".", "../..");
  const built = join(root, "npm");
  console.log(await buildNpm(root, built));
  const packed = await new Consumer(built).run("npm", [
    "pack",
    "--silent",
    `--pack-destination=${folder}`,
  ]);
  const tarball = join(folder, packed.trim().split("\n")[0] ?? "");
  const { size } = await Deno.stat(tarball);
  console.log(`${basename(tarball)}: ${inKilobytes(size).trim()}\n`);
  return new Lab({ root, tarball, folder });
}

async function tryOut(check: Check, lab: Lab): Promise<Result> {
  const startMs = performance.now();
  const seconds = () => (performance.now() - startMs) / 1000;
  try {
    const detail = await check.run(lab);
    console.log(`${check.name}: ${detail}`);
    return { check, seconds: seconds(), detail };
  } catch (error) {
    console.error(`${check.name}: failed\n`, error);
    return { check, seconds: seconds(), detail: "failed, see above", error };
  }
}

function report(results: readonly Result[]): number {
  const failed = results.filter(({ error }) => error !== undefined);
  const widest = Math.max(...results.map(({ check }) => check.claim.length));
  console.log();
  for (const { check, seconds, error } of results) {
    console.log(
      [
        error === undefined ? "ok    " : "FAILED",
        check.name.padEnd(15),
        check.claim.padEnd(widest),
        `${seconds.toFixed(1)} s`.padStart(8),
      ].join("  "),
    );
  }
  const total = results.reduce((sum, { seconds }) => sum + seconds, 0);
  console.log(
    `\n${
      results.length - failed.length
    } of ${results.length} checks passed in ${total.toFixed(0)} s`,
  );
  return failed.length === 0 ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main());
