import assert from "node:assert/strict";
import type { BrowserContextOptions, Page } from "playwright-core";
import { browserTest } from "./_chromium.ts";
import { ExamplePage } from "./_example_pages.ts";
import { until } from "./_harness.ts";

const CHAT = { folder: "chat", kvVariable: "CHAT_KV" };

Deno.test({
  ...browserTest(),
  name:
    "examples/chat: people in one room see who comes and what is said, in the others not",
  async fn() {
    await using app = await ExamplePage.start(CHAT);
    const ada = await signIn(app, "Ada");
    await until(async () => (await roomsOf(ada)).join() === "general");
    const bob = await signIn(app, "Bob", { colorScheme: "dark" });
    await says(ada, ["Bob has joined"]);
    await say(ada, "Hello Bob");
    await say(ada, "Have you seen this?");
    await says(bob, ["Ada: Hello Bob", "Ada: Have you seen this?"]);
    await say(bob, "One state, every tab");
    const all = [
      "Bob has joined",
      "Ada: Hello Bob",
      "Ada: Have you seen this?",
      "Bob: One state, every tab",
    ];
    await says(ada, all);
    await says(bob, all.slice(1));
    assert.equal(await ada.locator("#messages .mine").count(), 2);
    await app.shot(ada, "chat_light");

    await bob.getByLabel("Open a room").fill("River Watch");
    await bob.keyboard.press("Enter");
    await until(async () =>
      await bob.locator("#room").innerText() === "river-watch"
    );
    await say(bob, "Nobody here yet");
    for (const tab of [ada, bob]) {
      await until(async () =>
        (await roomsOf(tab)).join() === "general,river-watch"
      );
    }
    await says(bob, ["Bob: Nobody here yet"]);
    await says(ada, all);
    await ada.getByRole("link", { name: "river-watch" }).click();
    await says(bob, ["Bob: Nobody here yet", "Ada has joined"]);
    await says(ada, ["Bob: Nobody here yet"]);
    await say(ada, "Now there is");
    await app.shot(bob, "chat_dark");

    await ada.goBack();
    await says(ada, all.slice(1));
    await say(bob, "Bye");
    await ada.reload();
    await says(ada, all.slice(1));
    assert.deepEqual(app.faults, []);
  },
});

Deno.test({
  ...browserTest(),
  name:
    "examples/chat: what is written while the server is away is sent once, in order",
  async fn() {
    await using app = await ExamplePage.start(CHAT);
    const narrow = { viewport: { width: 390, height: 780 } };
    const ada = await signIn(app, "Ada", narrow);
    const bob = await signIn(app, "Bob", narrow);
    await says(ada, ["Bob has joined"]);
    await say(bob, "Before");
    await says(ada, ["Bob has joined", "Bob: Before"]);
    await app.stopServer("SIGKILL");
    await banner(ada, "No connection. What you write is sent once it is back.");

    await say(ada, "First");
    await say(ada, "Second");
    await banner(
      ada,
      "No connection. Your 2 messages are sent once it is back.",
    );
    await says(ada, [
      "Bob has joined",
      "Bob: Before",
      "Ada: First",
      "Ada: Second",
    ]);
    assert.equal(await ada.locator("#messages .waiting").count(), 2);
    await app.shot(ada, "chat_away_narrow");

    await app.startServer();
    await banner(ada, "");
    await says(bob, ["Bob: Before", "Ada: First", "Ada: Second"]);
    await until(async () =>
      await ada.locator("#messages .waiting").count() === 0
    );
    await say(bob, "Welcome back");
    await says(ada, [
      "Bob has joined",
      "Bob: Before",
      "Ada: First",
      "Ada: Second",
      "Bob: Welcome back",
    ]);
    assert.equal((await app.stopServer())?.code, 0);
    assert.deepEqual(app.faults, []);
  },
});

Deno.test({
  ...browserTest(),
  name: "examples/chat: who is refused is told why, and asked again",
  async fn() {
    await using app = await ExamplePage.start(CHAT);
    const page = await app.open();
    const name = page.getByLabel("Name");
    await name.evaluate((input) => input.removeAttribute("maxlength"));
    await name.fill("x".repeat(25));
    await page.keyboard.press("Enter");
    const reason = page.getByText("A name has 1 to 24 characters");
    await reason.waitFor();
    await app.shot(page, "chat_refused");
    await name.fill("Cleo");
    await page.keyboard.press("Enter");
    await until(async () => await page.locator("#me").innerText() === "Cleo");
    await say(page, "Hi");
    await says(page, ["Cleo: Hi"]);
    await page.goto(`${page.url().split("#")[0]}#no*room`);
    await says(page, ["A room's name has letters, digits and hyphens"]);
    assert.deepEqual(await roomsOf(page), ["general", "no*room"]);
    assert.deepEqual(app.faults, []);
  },
});

async function signIn(
  app: ExamplePage,
  name: string,
  options?: BrowserContextOptions,
): Promise<Page> {
  const page = await app.open("", options);
  await page.getByLabel("Name").fill(name);
  await page.keyboard.press("Enter");
  await until(async () => await page.locator("#me").innerText() === name);
  return page;
}

async function say(page: Page, text: string): Promise<void> {
  await page.getByLabel("Message").fill(text);
  await page.getByRole("button", { name: "Send" }).click();
}

/** Waits for messages, each with who said it, and notes. */
async function says(page: Page, expected: string[]): Promise<void> {
  let found: string[] = [];
  await until(async () => {
    found = await page.getByTestId("messages").locator("li").evaluateAll((
      rows,
    ) =>
      rows.map((row) => {
        const [from, text] = ["b", ".text"].map((part) =>
          row.querySelector(part)?.textContent
        );
        return text === undefined ? row.textContent ?? "" : `${from}: ${text}`;
      })
    );
    return JSON.stringify(found) === JSON.stringify(expected);
  }, {
    ms: 10_000,
    describe: () => `${expected.join(" / ")}, found ${found.join(" / ")}`,
  });
}

async function roomsOf(page: Page): Promise<string[]> {
  return await page.getByTestId("rooms").locator("a").allInnerTexts();
}

async function banner(page: Page, text: string): Promise<void> {
  let found = "";
  await until(
    async () => (found = await page.getByTestId("banner").innerText()) === text,
    { ms: 20_000, describe: () => `banner "${text}", found "${found}"` },
  );
}
