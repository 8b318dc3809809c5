/**
 * The hooks with the types of the list.
 *
 * @module
 */
import { createHooks } from "@headwater/sync/react";
import type { app } from "../contract.ts";

export const { HeadwaterProvider, useEvent, useMutation, useStatus, useStore } =
  createHooks<typeof app>();
