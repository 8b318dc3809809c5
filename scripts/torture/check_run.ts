/**
 * Runs the check in a process of its own.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import type { Account } from "./account.ts";
import type { CheckReport } from "./check.ts";

const CONFIG = fileURLToPath(import.meta.resolve("../../deno.json"));
const SCRIPT = fileURLToPath(import.meta.resolve("./check_process.ts"));

/**
 * Compares a file with the account; both lie in `folder` afterwards.
 *
 * @throws {Error} if the check itself fails.
 */
export async function checkInProcess(
  { folder, kv, account }: { folder: string; kv: string; account: Account },
): Promise<CheckReport> {
  const accountPath = `${folder}/account.json`;
  const reportPath = `${folder}/report.json`;
  await Deno.writeTextFile(accountPath, JSON.stringify(account.toData()));
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--no-check",
      `--config=${CONFIG}`,
      SCRIPT,
      kv,
      accountPath,
      reportPath,
    ],
    env: { NO_COLOR: "1" },
    stdout: "null",
  }).output();
  if (!success) {
    throw new Error(`The check failed: ${new TextDecoder().decode(stderr)}`);
  }
  // Written by the check of the same version.
  return JSON.parse(await Deno.readTextFile(reportPath)) as CheckReport;
}
