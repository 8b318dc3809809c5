/**
 * What tells the frames that go down from each other. This module is browser compatible.
 *
 * @module
 */

/**
 * Field `t` of each frame type, from 32 on; a patch goes without, since nine
 * frames of ten are patches.
 */
export const DOWN = {
  welcome: 32,
  snap: 33,
  resume: 34,
  res: 35,
  del: 36,
  evt: 37,
  err: 38,
  pong: 39,
  parts: 40,
  own: 41,
} as const;
