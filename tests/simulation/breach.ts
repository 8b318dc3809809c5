/** A promise that was not kept. */
export class Breach extends Error {
  override readonly name = "Breach";
}
