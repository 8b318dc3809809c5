/**
 * Runs the examples that have a page: the server as a process of its own, the page
 * in Chromium.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { join } from "node:path";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { launchChromium } from "./_chromium.ts";
import {
  type FreshProcess,
  freshProcess,
  tempDir,
  tempKvPath,
} from "./_harness.ts";

/** Where screenshots are kept for a person to look at; else they go with the test's folder. */
const SHOTS = Deno.env.get("HEADWATER_SHOTS");

/** Which example, and how it is told where its KV is. */
export interface ExamplePageOptions {
  /** Its folder below `examples/`. */
  readonly folder: string;
  /** The environment variable with the path of its KV. */
  readonly kvVariable: string;
}

/** One example with a browser; its server may be stopped and started again on its port. */
export class ExamplePage implements AsyncDisposable {
  readonly #script: string;
  readonly #owned: AsyncDisposableStack;
  readonly #environment: Record<string, string>;
  readonly #shots: string;
  readonly #browser: Browser;
  /** What the pages' scripts have thrown, or found worth an error in the console. */
  readonly faults: string[] = [];
  #server: FreshProcess | undefined;
  #port = 0;

  /** Starts it. */
  static async start(options: ExamplePageOptions): Promise<ExamplePage> {
    await using owned = new AsyncDisposableStack();
    const kv = owned.use(await tempKvPath());
    const shots = SHOTS ?? owned.use(await tempDir()).path;
    const browser = await launchChromium();
    owned.defer(() => browser.close());
    const app = new ExamplePage(options, {
      browser,
      shots,
      kv: kv.path,
      owned: owned.move(),
    });
    await app.startServer();
    return app;
  }

  private constructor(
    { folder, kvVariable }: ExamplePageOptions,
    { browser, shots, kv, owned }: {
      browser: Browser;
      shots: string;
      kv: string;
      owned: AsyncDisposableStack;
    },
  ) {
    this.#script = fileURLToPath(
      import.meta.resolve(`../examples/${folder}/server.ts`),
    );
    this.#environment = { [kvVariable]: kv };
    this.#browser = browser;
    this.#shots = shots;
    this.#owned = owned;
  }

  /** Starts the server, on the port that it had before. */
  async startServer(): Promise<void> {
    const env = { ...this.#environment, PORT: String(this.#port) };
    const server = this.#server = freshProcess([this.#script], env);
    this.#port = Number((await server.line(/http:\/\/localhost:(\d+)/))[1]);
  }

  /** Ends the server as a person does, or as a crash does; tells how it ended. */
  async stopServer(
    signal: "SIGTERM" | "SIGKILL" = "SIGTERM",
  ): Promise<Deno.CommandStatus | undefined> {
    const status = await this.#server?.kill(signal);
    await this.#server?.[Symbol.asyncDispose]();
    return status;
  }

  /** How many lines the server has printed that match. */
  serverLines(match: RegExp): number {
    const lines = this.#server?.output.split("\n") ?? [];
    return lines.filter((line) => match.test(line)).length;
  }

  /** Opens the page in a browser of its own, as another person would. */
  async open(
    hash = "",
    options: BrowserContextOptions = {},
  ): Promise<Page> {
    const page = await this.#browser.newPage({
      colorScheme: "light",
      viewport: { width: 1100, height: 720 },
      ...options,
    });
    page.setDefaultTimeout(10_000);
    page.on("pageerror", (error) => this.faults.push(String(error)));
    await page.goto(`http://localhost:${this.#port}/${hash}`);
    return page;
  }

  /** Keeps a picture of a page, for a person to look at. */
  async shot(page: Page, name: string): Promise<void> {
    // What moves has come to rest.
    await page.evaluate(() =>
      Promise.allSettled(
        document.getAnimations().filter(({ effect }) =>
          effect?.getComputedTiming().iterations !== Infinity
        ).map(({ finished }) => finished),
      )
    );
    await page.screenshot({ path: join(this.#shots, `${name}.png`) });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]();
    await this.#owned.disposeAsync();
  }
}
