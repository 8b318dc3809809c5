/**
 * The module `./serve` on what stands in for Deno Deploy.
 *
 * @module
 */
import "./deploy_kv.ts";

export { default } from "../../adapters/serve.ts";
