/**
 * Stands in for Deno Deploy where `DENO_DEPLOYMENT_ID` is set: `Deno.openKv()` without a
 * path is the app's own database, here the file `DEPLOY_KV`, and there is no other. What
 * is asked for is printed. To be imported before anything else.
 *
 * @module
 */
const { openKv } = Deno;

if (Deno.env.has("DENO_DEPLOYMENT_ID")) {
  const value: typeof Deno.openKv = async (path) => {
    console.log(`openKv(${path ?? ""})`);
    if (path !== undefined) throw new TypeError("There are no files here");
    const file = Deno.env.get("DEPLOY_KV");
    if (!file) throw new TypeError("No database");
    return await openKv(file);
  };
  Object.defineProperty(Deno, "openKv", { value });
}
