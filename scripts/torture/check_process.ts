/**
 * Checks a KV file in a process that remembers nothing: its arguments are the
 * path of the file, that of the account, and where the report goes.
 *
 * @module
 */
import type { AccountData } from "./account.ts";
import { checkFile } from "./check.ts";

const [path = "", accountPath = "", reportPath = ""] = Deno.args;
// Written by the driver, in the same version of this program.
const account = JSON.parse(await Deno.readTextFile(accountPath)) as AccountData;
const kv = await Deno.openKv(path);
const report = await checkFile(kv, account);
kv.close();
await Deno.writeTextFile(reportPath, JSON.stringify(report));
