/**
 * A real Chromium for the tests of pages; they are ignored where none is found.
 *
 * @module
 */
import type { Browser } from "playwright-core";

const PATHS = [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
];

/** Path of the browser: `CHROMIUM`, or where Debian and others put it. */
export function chromiumPath(): string | undefined {
  const paths = [Deno.env.get("CHROMIUM") ?? "", ...PATHS];
  return paths.find((path) => path !== "" && isFile(path));
}

/** What a test of a page passes to `Deno.test` beside name and function. */
export function browserTest(): Omit<Deno.TestDefinition, "name" | "fn"> {
  return {
    ignore: chromiumPath() === undefined,
    // The browser's pipes and timers belong to playwright and outlive single steps.
    sanitizeOps: false,
    sanitizeResources: false,
  };
}

/** Starts it without any traffic of its own. */
export async function launchChromium(): Promise<Browser> {
  const executablePath = chromiumPath();
  if (executablePath === undefined) {
    throw new Error("Cannot find Chromium: set CHROMIUM to its path");
  }
  // As it loads, playwright asks whether it runs under WSL by a file of /proc that
  // takes all permissions; with this set, it does not ask.
  Deno.env.set("__IS_WSL_TEST__", "1");
  const { chromium } = await import("playwright-core");
  return await chromium.launch({
    executablePath,
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}
