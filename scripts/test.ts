/**
 * Runs every test and the examples in the documentation, and ends with one line
 * that sums up. Arguments go to `deno test` (`deno task test --filter ack`); a path
 * among them replaces the default ones.
 *
 * @module
 */

/** Where tests and documented examples are. */
const SOURCES = ["mod.ts", "protocol", "server", "client", "adapters", "tests"];

interface Summary {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

async function main(): Promise<number> {
  const folder = await Deno.makeTempDir({ prefix: "headwater_test_" });
  const report = `${folder}/report.xml`;
  try {
    const command = new Deno.Command(Deno.execPath(), {
      args: testArguments(folder, report),
      env: { TMPDIR: folder },
      stdin: "null",
      stdout: "piped",
      stderr: "inherit",
    });
    const child = command.spawn();
    const output = await passThrough(child.stdout);
    const { code } = await child.status;
    const ignored = ignoredNames(
      await Deno.readTextFile(report).catch(() => ""),
    );
    for (const name of ignored) console.log(`Ignored: ${name}`);
    const summary = readSummary(output);
    if (summary === undefined) {
      console.log("The tests did not run to their end");
    }
    const { passed, failed, skipped } = summary ??
      { passed: 0, failed: 1, skipped: 0 };
    console.log(
      `${passed} passed, ${failed} failed${
        skipped > 0 ? `, ${skipped} skipped` : ""
      }`,
    );
    return code === 0 && failed > 0 ? 1 : code;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function testArguments(folder: string, report: string): string[] {
  const paths =
    Deno.args.some((arg) => !arg.startsWith("-") && /[/.]/.test(arg))
      ? []
      : SOURCES;
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
    ...Deno.args,
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

function ignoredNames(report: string): string[] {
  const names = [
    ...report.matchAll(/<testcase name="([^"]*)"[^>]*>\s*<skipped/g),
  ].map((match) => match[1] ?? "");
  return names.map((name) =>
    name.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll(
      "&quot;",
      '"',
    ).replaceAll("&amp;", "&")
  );
}

if (import.meta.main) Deno.exit(await main());
