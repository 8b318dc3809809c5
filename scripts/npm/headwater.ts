#!/usr/bin/env node
/**
 * The program of the npm package: `npx headwater`.
 *
 * @module
 */
import { runCli } from "../../adapters/cli.ts";
import { createServer } from "../../server/mod.ts";

await runCli(createServer);
