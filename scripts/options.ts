/**
 * Reads the options of a command: `--name N` for numbers, `--name TEXT` for texts,
 * `--name` for switches.
 *
 * @module
 */

/** What a command takes. */
export interface OptionSpec<N extends string> {
  /** Numbers, with their defaults and the least that makes sense. */
  readonly numbers: Readonly<
    Record<N, { readonly initial: number; readonly least: number }>
  >;
  /** Texts, which may be given more than once. */
  readonly texts?: readonly string[];
  readonly switches?: readonly string[];
}

/** What was given. */
export interface Options<N extends string> {
  readonly numbers: Readonly<Record<N, number>>;
  readonly texts: Readonly<Record<string, readonly string[]>>;
  readonly switches: ReadonlySet<string>;
}

/** Reads them; a text says what is wrong with them, empty where help was asked for. */
export function readOptions<N extends string>(
  args: readonly string[],
  { numbers, texts = [], switches = [] }: OptionSpec<N>,
): Options<N> | string {
  const isNumber = (name: string): name is N => Object.hasOwn(numbers, name);
  const names = Object.keys(numbers).filter(isNumber);
  const values = Object.fromEntries(
    names.map((name) => [name, numbers[name].initial]),
  ) as Record<N, number>; // one for each of them
  const given: Record<string, string[]> = Object.fromEntries(
    texts.map((name) => [name, []]),
  );
  const isOn = new Set<string>();
  for (let index = 0; index < args.length; index++) {
    const arg = args[index]!; // in range
    const name = arg.replace(/^--/, "");
    if (arg === "--help") return "";
    if (arg === name) return `"${arg}" is no option`;
    if (switches.includes(name)) {
      isOn.add(name);
      continue;
    }
    const value = args[++index];
    const list = texts.includes(name) ? given[name] : undefined;
    if (!list && !isNumber(name)) return `"${arg}" is no option`;
    if (!value) return `${arg} has no value`;
    if (list) list.push(value);
    if (!isNumber(name)) continue;
    if (!/^\d+$/.test(value) || !Number.isSafeInteger(Number(value))) {
      return `${arg} is a number, not "${value}"`;
    }
    const { least } = numbers[name];
    if (Number(value) < least) {
      return `${arg} is at least ${least}, not ${value}`;
    }
    values[name] = Number(value);
  }
  return { numbers: values, texts: given, switches: isOn };
}

/** What is printed where options make no sense. */
export function usageOf(usage: string, wrong: string): string {
  return wrong === "" ? usage : `${wrong}\n\n${usage}`;
}
