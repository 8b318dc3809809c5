/**
 * Runs every test and the examples in the documentation, and ends with one line
 * that sums up. Arguments go to `deno test` (`deno task test --filter ack`); a path
 * among them replaces the default ones.
 *
 * Files of which a test failed are run once more, by themselves: most tests use real
 * time, and a machine that is busy with other things can be late for any of them. What
 * fails again is a failure; what does not is named as flaky, to be mended.
 *
 * @module
 */
import { failedTests, ignoredTests, uncaughtFiles } from "./test_report.ts";

/** Where tests and documented examples are. */
const SOURCES = ["mod.ts", "protocol", "server", "client", "adapters", "tests"];

interface Summary {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** More files than these do not fail for want of time. */
const MOST_RUN_AGAIN = 4;

async function main(): Promise<number> {
  const folder = await Deno.makeTempDir({ prefix: "headwater_test_" });
  try {
    const first = await run(folder, Deno.args);
    for (const name of ignoredTests(first.report)) {
      console.log(`Ignored: ${name}`);
    }
    const flaky = first.code === 0 ? [] : await runAgain(folder, first);
    for (const name of flaky) console.log(`Flaky, passed alone: ${name}`);
    const { passed, failed, skipped } = first.summary;
    const isPassed = flaky.length > 0;
    console.log([
      `${passed + (isPassed ? failed : 0)} passed`,
      `${isPassed ? 0 : failed} failed`,
      ...(skipped > 0 ? [`${skipped} skipped`] : []),
      ...(flaky.length > 0 ? [`${flaky.length} flaky`] : []),
    ].join(", "));
    if (isPassed) return 0;
    return first.code === 0 && failed > 0 ? 1 : first.code;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

interface Run {
  readonly code: number;
  readonly summary: Summary;
  /** The JUnit report, empty where the tests did not get that far. */
  readonly report: string;
  /** Files that an error has ended which no test caught; no report names them. */
  readonly uncaught: readonly string[];
}

async function run(folder: string, args: string[]): Promise<Run> {
  const path = `${folder}/report.xml`;
  const command = new Deno.Command(Deno.execPath(), {
    args: testArguments(folder, path, args),
    env: { TMPDIR: folder },
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  });
  const child = command.spawn();
  const output = await passThrough(child.stdout);
  const { code } = await child.status;
  const summary = readSummary(output);
  if (summary === undefined) console.log("The tests did not run to their end");
  return {
    code,
    summary: summary ?? { passed: 0, failed: 1, skipped: 0 },
    report: await Deno.readTextFile(path).catch(() => ""),
    uncaught: uncaughtFiles(output),
  };
}

/** The names of the tests that failed, if all of them pass by themselves. */
async function runAgain(folder: string, first: Run): Promise<string[]> {
  const failed = [
    ...failedTests(first.report),
    ...first.uncaught.map((file) => ({ name: `an error in ${file}`, file })),
  ];
  const files = [...new Set(failed.map(({ file }) => file))];
  // A module that could not be loaded, or a run that broke off, is in no report.
  const areAll = failed.length >= first.summary.failed && failed.length > 0;
  if (!areAll || files.length > MOST_RUN_AGAIN) return [];
  console.log(`\nOnce more, by themselves: ${files.join(" ")}`);
  const { code } = await run(folder, [...flagsOf(Deno.args), ...files]);
  return code === 0 ? failed.map(({ name }) => name) : [];
}

function isPath(arg: string): boolean {
  return !arg.startsWith("-") && /[/.]/.test(arg);
}

function flagsOf(args: readonly string[]): string[] {
  return args.filter((arg) => !isPath(arg));
}

function testArguments(
  folder: string,
  report: string,
  args: string[],
): string[] {
  const paths = args.some(isPath) ? [] : SOURCES;
  return [
    "test",
    "--doc",
    // Off by default in Deno 2.9: without them a leaked timer, socket or KV handle passes.
    "--sanitize-ops",
    "--sanitize-resources",
    "--trace-leaks",
    `--junit-path=${report}`,
    "--no-prompt",
    "--allow-net=127.0.0.1,localhost,[::1]",
    "--allow-read",
    `--allow-write=${folder}`,
    "--allow-env",
    "--allow-sys",
    "--allow-run",
    ...args,
    ...paths,
  ];
}

async function passThrough(
  stream: ReadableStream<Uint8Array>,
): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of stream) {
    for (let rest = chunk; rest.length > 0;) {
      rest = rest.subarray(await Deno.stdout.write(rest));
    }
    text += decoder.decode(chunk, { stream: true });
  }
  return text;
}

/** Reads deno's last line, which counts what a report does not: modules that could not be loaded. */
function readSummary(output: string): Summary | undefined {
  // deno-lint-ignore no-control-regex
  const plain = output.replaceAll(/\x1b\[[\d;]*m/g, "");
  const line = plain.match(/^(?:ok|FAILED) \| (\d+) passed.*$/gm)?.at(-1);
  if (line === undefined) return undefined;
  const count = (word: string) =>
    Number(line.match(new RegExp(`(\\d+) ${word}`))?.[1] ?? 0);
  return {
    passed: count("passed"),
    failed: count("failed"),
    skipped: count("ignored"),
  };
}

if (import.meta.main) Deno.exit(await main());
