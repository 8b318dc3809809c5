/**
 * The client: subscribes to stores, calls functions, listens to events. This
 * module is browser compatible; on Node before 22 give it the `WebSocket` of the
 * package `ws`.
 *
 * @module
 */
export { createClient } from "./client.ts";
export type {
  CallOptions,
  Client,
  ClientEvents,
  ClientOptions,
  ClientStatus,
  SubscriptionHandle,
} from "./api.ts";
export type {
  ClientClock,
  ClientTimer,
  WebSocketClass,
  WebSocketLike,
} from "./environment.ts";
export { HeadwaterError, LimitError } from "../protocol/errors.ts";
export type {
  ErrorBody,
  ErrorCode,
  HeadwaterErrorOptions,
  Outcome,
} from "../protocol/errors.ts";
export type { Json } from "../protocol/value.ts";
