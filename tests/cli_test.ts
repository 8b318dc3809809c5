import assert from "node:assert/strict";
import { join } from "node:path";
import { readSettings } from "../adapters/cli.ts";
import { freshProcess, tempDir, tempKvPath, until } from "./_harness.ts";

const ROOT = join(import.meta.dirname ?? ".", "..");
const CLI = join(ROOT, "server/mod.ts");

Deno.test("readSettings() has a default for everything", () => {
  const expected = {
    port: 4400,
    host: "localhost",
    kv: ".headwater/state.db",
    transport: "native",
    logLevel: "info",
  };
  assert.deepEqual(readSettings(() => undefined), expected);
  assert.deepEqual(readSettings(() => " "), expected);
});

Deno.test("readSettings() takes what the environment sets", () => {
  const env: Record<string, string> = {
    PORT: "0",
    HOST: "0.0.0.0",
    HEADWATER_KV: ":memory:",
    HEADWATER_TRANSPORT: "Hardened",
    LOG_LEVEL: "DEBUG",
  };
  assert.deepEqual(readSettings((name) => env[name]), {
    port: 0,
    host: "0.0.0.0",
    kv: ":memory:",
    transport: "hardened",
    logLevel: "debug",
  });
});

Deno.test("readSettings() refuses a bad value by the variable's name", () => {
  const bad = [
    ["PORT", "44o0"],
    ["PORT", "65536"],
    ["PORT", "-1"],
    ["PORT", "1e3"],
    ["HOST", "local host"],
    ["HOST", "http://localhost"],
    ["HEADWATER_KV", "postgres://db"],
    ["HEADWATER_TRANSPORT", "fast"],
    ["LOG_LEVEL", "loud"],
  ] as const;
  for (const [name, value] of bad) {
    const error = {
      name: "RangeError",
      message: new RegExp(`^${name} .*"${value}"`),
    };
    assert.throws(
      () => readSettings((asked) => asked === name ? value : undefined),
      error,
    );
  }
});

Deno.test("runCli() says where it listens and where its data is, and ends by itself on each signal", async () => {
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    await using folder = await tempDir();
    const path = join(folder.path, "deep/state.db");
    await using server = freshProcess([CLI], { PORT: "0", HEADWATER_KV: path });
    const [, url = ""] = await server.line(/(http:\/\/localhost:[1-9]\d*)/);
    await until(() => server.output.includes(path));
    const page = await fetch(url);
    assert.equal(page.headers.get("content-type"), "text/html; charset=utf-8");
    assert.match(await page.text(), /<title>Headwater<\/title>/);
    const health = await fetch(`${url}/api/v1/health`);
    assert.equal((await health.json()).status, "ok");
    assert.equal((await server.kill(signal)).code, 0, server.output);
  }
});

for (const transport of ["native", "hardened"]) {
  Deno.test(`runCli() gives one clear line where it cannot start, ${transport}`, async () => {
    await using kv = await tempKvPath();
    await using folder = await tempDir();
    const file = join(folder.path, "file");
    await Deno.writeTextFile(file, "");
    const taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    try {
      const { port } = taken.addr;
      const cases: [Record<string, string>, RegExp][] = [
        [
          { PORT: "x", HEADWATER_KV: kv.path },
          /PORT must be a number from 0 to 65535, found "x"/,
        ],
        [
          {
            PORT: String(port),
            HEADWATER_KV: kv.path,
            HEADWATER_TRANSPORT: transport,
          },
          new RegExp(`:${port}.*in use.*PORT`),
        ],
        [
          { PORT: "0", HEADWATER_KV: join(file, "state.db") },
          /Cannot open KV .*file/,
        ],
      ];
      for (const [env, message] of cases) {
        await using server = freshProcess([CLI], env);
        assert.equal((await server.exited).code, 1, server.output);
        await until(() => message.test(server.output), {
          describe: () => server.output,
        });
        assert.doesNotMatch(server.output, /^\s+at /m, "it shows a stack");
      }
    } finally {
      taken.close();
    }
  });
}

for (const transport of ["native", "hardened"]) {
  Deno.test(`deno task start needs no more permissions than it lists, ${transport}`, async () => {
    await using kv = await tempKvPath();
    const config = JSON.parse(await Deno.readTextFile(join(ROOT, "deno.json")));
    const [, ...args] = config.tasks.start.command.split(" ");
    const child = new Deno.Command(Deno.execPath(), {
      args,
      cwd: ROOT,
      env: {
        PORT: "0",
        HEADWATER_KV: kv.path,
        HEADWATER_TRANSPORT: transport,
        DENO_NO_PROMPT: "1",
      },
      stdin: "null",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    let output = "";
    let isTold = false;
    for await (
      const text of child.stdout.pipeThrough(new TextDecoderStream())
    ) {
      output += text;
      if (isTold || !/Listening.*\n/.test(output)) continue;
      const [url = ""] = output.match(/http:\/\/localhost:\d+/) ?? [];
      await (await fetch(url)).body?.cancel();
      isTold = true; // a second signal would end it at once
      child.kill("SIGTERM");
    }
    assert.equal((await child.status).code, 0, output);
    assert.match(output, /http:\/\/localhost:\d+/);
  });
}
