/** Three servers in processes of their own, and 200 clients, on one denokv. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { startApp } from "./_app.ts";
import { type Denokv, denokvTest } from "./_denokv.ts";
import {
  type FreshProcess,
  freshProcess,
  startProxy,
  until,
  within,
} from "./_harness.ts";
import { Crowd } from "./_crowd.ts";

const SCRIPT = fileURLToPath(import.meta.resolve("./servers/app.ts"));

/** A server on denokv that can be killed and started again on its port. */
class RemoteApp implements AsyncDisposable {
  readonly #denokv: Denokv;
  #process: FreshProcess | undefined;
  #port = 0;

  private constructor(denokv: Denokv) {
    this.#denokv = denokv;
  }

  static async start(denokv: Denokv): Promise<RemoteApp> {
    const app = new RemoteApp(denokv);
    await app.restart();
    return app;
  }

  get port(): number {
    return this.#port;
  }

  get output(): string {
    return this.#process?.output ?? "";
  }

  async kill(): Promise<void> {
    await this.#process?.kill("SIGKILL");
    await this.#process?.[Symbol.asyncDispose]();
  }

  async restart(): Promise<void> {
    const { url, env } = this.#denokv;
    const options = { kv: url, port: this.#port };
    this.#process = freshProcess([SCRIPT], {
      APP_OPTIONS: JSON.stringify(options),
      ...env,
    });
    const [, port] = await this.#process.line(/^listening (\d+)$/);
    this.#port = Number(port);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process?.[Symbol.asyncDispose]();
  }
}

denokvTest(
  "3 servers and 200 clients on denokv: a server and denokv are killed, all converge in one order, nothing acknowledged is lost or doubled",
  async (denokv) => {
    await using stack = new AsyncDisposableStack();
    const apps: RemoteApp[] = [];
    for (let n = 0; n < 3; n++) {
      apps.push(stack.use(await RemoteApp.start(denokv)));
    }
    const [, second] = apps as [RemoteApp, RemoteApp, RemoteApp];
    await using crowd = await Crowd.connect({
      clients: 200,
      ports: apps.map(({ port }) => port),
      rooms: 12,
    });
    await crowd.write(2);
    await crowd.write(3, async () => {
      await second.kill();
      await second.restart();
    });
    await crowd.write(3, async () => {
      await denokv.kill();
      await denokv.restart();
    });
    await crowd.write(1);
    await crowd.assertTogether();
    assert.equal(crowd.acknowledged, 200 * 9);
    for (const { output } of apps) assert.doesNotMatch(output, /error|fatal/);
  },
);

denokvTest(
  "writes whose answers are lost between server and denokv apply once",
  async (denokv) => {
    await using proxy = await startProxy(denokv.port);
    await using app = await startApp({ kv: `http://127.0.0.1:${proxy.port}` });
    await app.entries.init();
    const labels = Array.from({ length: 150 }, (_, n) => `${n}`);
    for (const label of labels) {
      // In the head of an answer, in its body, or after it.
      if (Number(label) % 3 === 0) {
        proxy.cutAfter(
          1 + (Number(label) * 7) % 200,
        );
      }
      // Not numbered, as a client's calls are: nothing but the lane keeps it from being made twice.
      await app.entries.update((draft) => void draft.items.push(label));
    }
    assert.deepEqual((await app.entries.get()).items, labels);
    await using other = await startApp({ kv: denokv.url });
    assert.deepEqual((await other.entries.get()).items, labels);
  },
);

denokvTest(
  "a server that is started before denokv listens once it is there",
  async (denokv) => {
    await denokv.kill();
    const starting = RemoteApp.start(denokv);
    await denokv.restart();
    await using app = await starting;
    assert.ok(app.port > 0);
  },
);

denokvTest(
  "while denokv is gone writes are refused in seconds, health says so, and close() ends",
  async (denokv) => {
    await using app = await startApp({
      kv: denokv.url,
      limits: { commitMs: 1_000 },
    });
    await app.entries.update((draft) => void draft.items.push("before"));
    assert.equal((await app.server.health()).status, "ok");
    await denokv.kill();
    await assert.rejects(
      app.entries.update((draft) => void draft.items.push("lost")),
      { code: "unavailable" },
    );
    assert.equal((await app.server.health()).status, "degraded");
    await denokv.restart();
    await until(async () => (await app.server.health()).status === "ok");
    await app.entries.update((draft) => void draft.items.push("after"));
    assert.deepEqual(
      (await app.entries.get()).items.filter((label) => label !== "lost"),
      ["before", "after"],
    );
    await denokv.kill();
    const last = assert.rejects(
      app.entries.update((draft) => void draft.items.push("last")),
    );
    await within(app.server.close(), {
      ms: 10_000,
      describe: () => "the end of a server whose KV is gone",
    });
    await last;
  },
);
