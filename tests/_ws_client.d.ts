/** The part of the package `ws`, which has no types of its own, that tests use as clients. */
export class WebSocket {
  onopen: ((event: unknown) => void) | null;
  onmessage: ((event: unknown) => void) | null;
  onclose: ((event: unknown) => void) | null;
  constructor(url: string, options: { ca: string });
  send(data: Uint8Array): void;
}
