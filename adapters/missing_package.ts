/**
 * Packages that only some need: loaded when they are used, missed in one clear
 * sentence.
 *
 * @module
 */

/**
 * Loads a package by `load`.
 *
 * @throws {Error} where it is not installed; the message has the command that
 * installs it.
 */
export async function loadPackage<T>(
  name: string,
  load: () => Promise<T>,
): Promise<T> {
  try {
    return await load();
  } catch (cause) {
    if (!isMissing(cause, name)) throw cause;
    throw new Error(
      `the package "${name}" is not installed; run: npm install ${name}`,
      { cause },
    );
  }
}

/** Whether it is this package that was not found, and not one that it needs itself. */
function isMissing(error: unknown, name: string): boolean {
  return error instanceof Error && "code" in error &&
    error.code === "ERR_MODULE_NOT_FOUND" &&
    error.message.includes(`'${name}'`);
}
