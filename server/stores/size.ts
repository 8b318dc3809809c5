/**
 * How large a value may become when it is encoded.
 *
 * @module
 */

/** An upper bound of the value's MessagePack bytes, at a fraction of the cost of encoding it. */
export function sizeOf(value: unknown): number {
  switch (typeof value) {
    case "string":
      // UTF-8 needs at most three bytes for a UTF-16 unit.
      return 5 + value.length * 3;
    case "number":
      return 9;
    case "object": {
      if (value === null) return 1;
      let size = 5;
      if (Array.isArray(value)) {
        for (const item of value) size += sizeOf(item);
        return size;
      }
      for (const key in value) {
        size += 5 + key.length * 3 +
          sizeOf((value as Record<string, unknown>)[key]);
      }
      return size;
    }
    default:
      return 1;
  }
}
