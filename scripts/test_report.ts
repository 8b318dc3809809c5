/**
 * Reads the JUnit report that `deno test` writes.
 *
 * @module
 */

/** A test of a report. */
export interface ReportedTest {
  readonly name: string;
  /** Path of the file that it stands in. */
  readonly file: string;
}

/** The tests that failed, without their steps. */
export function failedTests(report: string): ReportedTest[] {
  const tests = testsWith(report, "failure|error");
  // A step has the name of its test before its own.
  return tests.filter(({ name, file }) =>
    !tests.some((other) =>
      other.file === file && name.startsWith(`${other.name} > `)
    )
  );
}

/** Names of the tests that were not run. */
export function ignoredTests(report: string): string[] {
  return testsWith(report, "skipped").map(({ name }) => name);
}

function testsWith(report: string, outcome: string): ReportedTest[] {
  const pattern = new RegExp(
    `<testcase name="([^"]*)" classname="([^"]*)"[^>]*>\\s*<(?:${outcome})\\b`,
    "g",
  );
  return [...report.matchAll(pattern)].map(([, name = "", file = ""]) => ({
    name: unescapeXml(name),
    // An example in a comment stands at "file.ts#4-7.ts".
    file: unescapeXml(file).replace(/[#$]\d+-\d+\.\w+$/, ""),
  }));
}

function unescapeXml(text: string): string {
  return text.replaceAll("&lt;", "<").replaceAll("&gt;", ">")
    .replaceAll("&quot;", '"').replaceAll("&apos;", "'")
    .replaceAll("&amp;", "&");
}

/** Files that an error has ended which no test caught, as the output of \`deno test\` tells. */
export function uncaughtFiles(output: string): string[] {
  // deno-lint-ignore no-control-regex
  const plain = output.replaceAll(/\x1b\[[\d;]*m/g, "");
  const lines = plain.matchAll(/^Uncaught error from (\S+) FAILED$/gm);
  return [...new Set([...lines].map(([, file = ""]) => file))];
}
