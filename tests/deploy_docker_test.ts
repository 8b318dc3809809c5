/** What the Dockerfile says, done without Docker: copied, installed, run, asked and ended. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { tempDir, until, within } from "./_harness.ts";

const ROOT = join(import.meta.dirname ?? ".", "..");
const DOCKERFILE = (await Deno.readTextFile(join(ROOT, "Dockerfile")))
  .replaceAll("\\\n", "")
  .split("\n")
  .filter((line) => line !== "" && !line.startsWith("#"))
  .map((line) => {
    const [, instruction = "", rest = ""] = /^(\w+) +(.*)$/.exec(line) ?? [];
    return { instruction, rest };
  });
const WAIT_MS = 30_000;

/** What follows each of that instruction, in order. */
function all(instruction: string): string[] {
  return DOCKERFILE.filter((line) => line.instruction === instruction)
    .map(({ rest }) => rest);
}

function one(instruction: string): string {
  const [first, ...others] = all(instruction);
  assert.ok(first !== undefined && others.length === 0, instruction);
  return first;
}

Deno.test("Dockerfile: the version of Deno is the one that everything else uses", async () => {
  const ci = await Deno.readTextFile(join(ROOT, ".ci/run"));
  const [, version] = /DENO_VERSION=([\d.]+)/.exec(ci) ?? [];
  assert.equal(one("FROM"), `denoland/deno:${version}`);
});

Deno.test("Dockerfile: what it copies, and nothing else, comes from the checkout", async () => {
  const ignore = (await Deno.readTextFile(join(ROOT, ".dockerignore"))).trim();
  const [everything, ...kept] = ignore.split("\n");
  const copied = all("COPY").flatMap((rest) => rest.split(" ").slice(0, -1));
  assert.equal(everything, "*");
  assert.deepEqual(kept.map((line) => line.slice(1)).sort(), copied.sort());
});

Deno.test("Dockerfile: its server starts, is healthy, keeps its state in the volume and ends by SIGTERM", async () => {
  await using folder = await tempDir();
  const app = join(folder.path, "app");
  const data = join(folder.path, "data");
  await Deno.mkdir(app);
  await Deno.mkdir(data);
  for (const rest of all("COPY")) {
    const from = rest.split(" ").slice(0, -1).map((name) => join(ROOT, name));
    const copying = new Deno.Command("cp", { args: ["-r", ...from, app] });
    assert.ok((await copying.output()).success, rest);
  }
  const [install = ""] = one("RUN").split("&&");
  await succeeds(install.trim().split(/ +/), app);

  const volume = one("VOLUME");
  const env = Object.fromEntries(
    one("ENV").split(" ").map((pair) => pair.split("=") as [string, string]),
  );
  assert.deepEqual(env, { HOST: "0.0.0.0", HEADWATER_KV: "/data/state.db" });
  const child = new Deno.Command(Deno.execPath(), {
    args: JSON.parse(one("CMD")),
    cwd: app,
    env: {
      HEADWATER_KV: `${env["HEADWATER_KV"]}`.replace(volume, data),
      HOST: "127.0.0.1",
      PORT: "0",
      NO_COLOR: "1",
    },
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  let output = "";
  const reading = (async () => {
    for await (
      const text of child.stdout.pipeThrough(new TextDecoderStream())
    ) output += text;
  })();
  try {
    const [, port = ""] = await until(
      () => /http:\/\/127\.0\.0\.1:(\d+)/.exec(output),
      { ms: WAIT_MS, describe: () => output },
    );
    const check = JSON.parse(one("HEALTHCHECK").replace(/^CMD /, ""))
      .map((word: string) =>
        word.replace(`localhost:${one("EXPOSE")}`, `127.0.0.1:${port}`)
      );
    assert.ok(check.join().includes(`:${port}/`));
    await succeeds(check, app);
    assert.ok((await Deno.stat(join(data, "state.db"))).isFile);
  } finally {
    child.kill("SIGTERM");
    const { code } = await within(child.status, {
      ms: WAIT_MS,
      describe: () => `the end:\n${output}`,
    });
    await reading;
    assert.equal(code, 0, output);
  }
});

/** Runs a command of the image, whose `deno` is this one. */
async function succeeds(
  [command, ...args]: string[],
  cwd: string,
): Promise<void> {
  assert.equal(command, "deno");
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args,
    cwd,
    stdin: "null",
  }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
}
