import assert from "node:assert/strict";
import { join } from "node:path";
import { freshProcess } from "./_fresh_process.ts";
import { tempDir } from "./_harness.ts";

/** Runs a script that has `onShutdownSignal` at hand. */
async function startScript(body: string) {
  const folder = await tempDir();
  const path = join(folder.path, "script.ts");
  const from = JSON.stringify(import.meta.resolve("../adapters/signals.ts"));
  await Deno.writeTextFile(
    path,
    `import { onShutdownSignal } from ${from};\n${body}`,
  );
  const process = freshProcess([path]);
  const dispose = async () => {
    await process[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  };
  return { process, [Symbol.asyncDispose]: dispose };
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  const code = { SIGINT: 130, SIGTERM: 143 }[signal];

  Deno.test(`onShutdownSignal() runs at ${signal}, and leaves the end to the program`, async () => {
    await using script = await startScript(`
      const timer = setInterval(() => {}, 1000);
      const undo = onShutdownSignal((signal) => {
        console.log("got", signal);
        clearInterval(timer);
        undo();
      });
      console.log("ready");`);
    await script.process.line(/^ready$/);
    const status = await script.process.kill(signal);
    assert.deepEqual({ code: status.code, signal: status.signal }, {
      code: 0,
      signal: null,
    });
    assert.match(script.process.output, new RegExp(`got ${signal}`));
  });

  Deno.test(`onShutdownSignal() exits at once at a second ${signal}`, async () => {
    await using script = await startScript(`
      setInterval(() => {}, 1000);
      onShutdownSignal((signal) => console.log("got", signal));
      console.log("ready");`);
    await script.process.line(/^ready$/);
    script.process.signal("SIGTERM");
    await script.process.line(/^got SIGTERM$/);
    assert.equal((await script.process.kill(signal)).code, code);
    assert.equal(script.process.output.match(/got/g)?.length, 1);
  });
}

Deno.test("onShutdownSignal() returns its undo, after which a signal ends the process as usual", async () => {
  await using script = await startScript(`
    setInterval(() => {}, 1000);
    onShutdownSignal(() => console.log("got it"))();
    console.log("ready");`);
  await script.process.line(/^ready$/);
  assert.equal((await script.process.kill("SIGTERM")).signal, "SIGTERM");
  assert.doesNotMatch(script.process.output, /got it/);
});

Deno.test("onShutdownSignal() does not keep a process alive", async () => {
  await using script = await startScript(
    `onShutdownSignal(() => {}); console.log("ready");`,
  );
  assert.equal((await script.process.exited).code, 0);
});
