/** The part of the package `ws`, which has no types of its own, that the tests use. */
import type { WebSocketClass } from "../../client/mod.ts";

export const WebSocket: WebSocketClass;
