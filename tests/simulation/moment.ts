/** A version of a life of a store; lives come one after the other. */
export interface Moment {
  readonly life: number;
  readonly epoch: string;
  readonly version: number;
}

/** Whether `a` was before `b`; no version goes back within an epoch, whatever happened to the KV. */
export function isBefore(a: Moment, b: Moment): boolean {
  if (a.epoch === b.epoch && a.version < b.version) return true;
  return a.life < b.life || (a.life === b.life && a.version < b.version);
}
