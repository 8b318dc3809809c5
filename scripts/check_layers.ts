/**
 * Checks the rules of the layout over the syntax trees of the checkout: who may
 * import whom, where the runtime shows, and that each dependency has one door.
 *
 * Run it by `deno task check:layers`; it prints each breach as `file:line: rule`.
 *
 * @module
 */
import { dirname, join, relative, resolve } from "node:path";
import ts from "typescript";

/** One place where a rule of the layout is broken. */
export interface Breach {
  /** Path from the root of the checkout. */
  readonly file: string;
  /** Line, from 1. */
  readonly line: number;
  /** What is wrong, for people. */
  readonly rule: string;
}

/** What each layer may import, beside itself. A layer that is not listed is free to import anything. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  protocol: [],
  client: ["protocol"],
  server: ["protocol"],
  adapters: ["protocol", "client", "server"],
  studio: ["protocol", "client"],
  "mod.ts": ["protocol", "client", "server"],
};

/** Layers that are published; the rest serves them. */
const PRODUCT = new Set(Object.keys(MAY_IMPORT));

/** The one file of the server that puts the parts together for a runtime. */
const COMPOSITION_ROOT = "server/mod.ts";

/** Where the runtime may be named. */
const HOST_LAYERS = new Set(["adapters", "tests", "scripts", "examples"]);
const HOST_PACKAGES = new Set(["ws", "@deno/kv"]);

/** Packages with a second door: the library writes logs, the CLI decides where they go. */
const EXTRA_DOORS: Readonly<Record<string, readonly string[]>> = {
  "@logtape/logtape": ["adapters/cli.ts"],
};

/** The only product code that speaks to a person on a terminal. */
const CONSOLE_FILES = new Set(["adapters/cli.ts"]);

/** Where KV keys are built and parsed. */
const KEYS_FILE = "server/log/keys.ts";

interface Import {
  readonly specifier: string;
  readonly line: number;
}

/** Finds every breach below `root`, in order of file and line. */
export async function findBreaches(root: string): Promise<Breach[]> {
  const config = JSON.parse(
    await Deno.readTextFile(join(root, "deno.json")),
  ) as {
    imports?: Record<string, string>;
  };
  const checker = new Checker(
    root,
    config.imports ?? {},
    await keyPrefix(root),
  );
  for await (const file of sourceFiles(root, "")) {
    checker.check(file, await Deno.readTextFile(join(root, file)));
  }
  return checker.finish();
}

class Checker {
  readonly #root: string;
  readonly #aliases: Readonly<Record<string, string>>;
  readonly #prefix: KeyPrefix | undefined;
  readonly #breaches: Breach[] = [];
  readonly #doors = new Map<string, Map<string, number>>();

  constructor(
    root: string,
    aliases: Readonly<Record<string, string>>,
    prefix: KeyPrefix | undefined,
  ) {
    this.#root = resolve(root);
    this.#aliases = aliases;
    this.#prefix = prefix;
  }

  check(file: string, text: string): void {
    const source = ts.createSourceFile(
      file,
      text,
      ts.ScriptTarget.Latest,
      true,
    );
    for (const found of importsOf(source)) this.#checkImport(file, found);
    this.#checkNodes(file, source);
  }

  finish(): Breach[] {
    for (const [name, files] of this.#doors) {
      const [first, ...others] = [...files].filter(([file]) =>
        !EXTRA_DOORS[name]?.includes(file)
      );
      for (const [file, line] of others) {
        this.#report(
          file,
          line,
          `"${name}" is imported in ${
            first?.[0]
          } already; each package has one door`,
        );
      }
    }
    return this.#breaches.sort((a, b) =>
      a.file.localeCompare(b.file) || a.line - b.line
    );
  }

  #report(file: string, line: number, rule: string): void {
    this.#breaches.push({ file, line, rule });
  }

  #checkImport(file: string, { specifier, line }: Import): void {
    const target = this.#localTarget(file, specifier);
    if (target !== undefined) return this.#checkLayer(file, line, target);
    const layer = layerOf(file);
    if (specifier.startsWith("node:")) {
      if (!HOST_LAYERS.has(layer)) {
        this.#report(file, line, `"${specifier}" belongs in adapters/`);
      }
      return;
    }
    if (/^[a-z]+:/.test(specifier)) {
      return this.#report(
        file,
        line,
        `"${specifier}" must be a bare name that deno.json lists with its version`,
      );
    }
    const name = packageOf(specifier);
    if (
      this.#aliases[name] === undefined &&
      this.#aliases[specifier] === undefined
    ) {
      this.#report(file, line, `"${name}" is not listed in deno.json`);
    }
    if (HOST_PACKAGES.has(name) && !HOST_LAYERS.has(layer)) {
      this.#report(file, line, `"${name}" belongs in adapters/`);
    }
    if (!PRODUCT.has(layer)) return;
    const files = this.#doors.get(name) ?? new Map<string, number>();
    if (!files.has(file)) files.set(file, line);
    this.#doors.set(name, files);
  }

  #checkLayer(file: string, line: number, target: string): void {
    const from = layerOf(file);
    const to = layerOf(target);
    const allowed = MAY_IMPORT[from];
    if (allowed === undefined || from === to || allowed.includes(to)) return;
    if (file === COMPOSITION_ROOT && to === "adapters") return;
    this.#report(file, line, `${from} must not import ${to} (${target})`);
  }

  #localTarget(file: string, specifier: string): string | undefined {
    const path = this.#aliases[specifier] ?? specifier;
    if (!/^\.{0,2}\//.test(path)) return undefined;
    const base = path === specifier
      ? dirname(join(this.#root, file))
      : this.#root;
    return relative(this.#root, resolve(base, path)).replaceAll("\\", "/");
  }

  #checkNodes(file: string, source: ts.SourceFile): void {
    const layer = layerOf(file);
    const visit = (node: ts.Node): void => {
      if (ts.isIdentifier(node)) {
        this.#checkIdentifier(file, layer, source, node);
      }
      if (ts.isArrayLiteralExpression(node)) {
        this.#checkKey(file, layer, source, node);
      }
      ts.forEachChild(node, visit);
    };
    visit(source);
  }

  #checkIdentifier(
    file: string,
    layer: string,
    source: ts.SourceFile,
    node: ts.Identifier,
  ): void {
    if (node.text === "Deno" && !HOST_LAYERS.has(layer)) {
      this.#report(file, lineOf(source, node), "Deno belongs in adapters/");
    }
    if (
      node.text === "console" && PRODUCT.has(layer) && !CONSOLE_FILES.has(file)
    ) {
      this.#report(
        file,
        lineOf(source, node),
        "the library never writes to the console; it logs or reports",
      );
    }
  }

  #checkKey(
    file: string,
    layer: string,
    source: ts.SourceFile,
    node: ts.ArrayLiteralExpression,
  ): void {
    const first = node.elements[0];
    if (this.#prefix === undefined || first === undefined) return;
    if (!PRODUCT.has(layer) || file === KEYS_FILE) return;
    const isKey =
      (ts.isStringLiteralLike(first) && first.text === this.#prefix.value) ||
      (ts.isIdentifier(first) && first.text === this.#prefix.name);
    if (isKey) {
      this.#report(
        file,
        lineOf(source, node),
        `KV keys are built in ${KEYS_FILE} only`,
      );
    }
  }
}

interface KeyPrefix {
  readonly name: string;
  readonly value: string;
}

/** The constant of `keys.ts` that every key begins with: its name ends in PREFIX. */
async function keyPrefix(root: string): Promise<KeyPrefix | undefined> {
  const text = await Deno.readTextFile(join(root, KEYS_FILE)).catch(() =>
    undefined
  );
  if (text === undefined) return undefined;
  const source = ts.createSourceFile(
    KEYS_FILE,
    text,
    ts.ScriptTarget.Latest,
    true,
  );
  for (const statement of source.statements) {
    if (!ts.isVariableStatement(statement)) continue;
    for (
      const { name, initializer } of statement.declarationList.declarations
    ) {
      if (!ts.isIdentifier(name) || !name.text.endsWith("PREFIX")) continue;
      if (initializer && ts.isStringLiteralLike(initializer)) {
        return { name: name.text, value: initializer.text };
      }
    }
  }
  throw new Error(
    `Cannot check the keys: ${KEYS_FILE} has no string constant named …PREFIX`,
  );
}

/** Every module that `source` names: static, re-exported, dynamic, and in types. */
function importsOf(source: ts.SourceFile): Import[] {
  const found: Import[] = [];
  const visit = (node: ts.Node): void => {
    const specifier = specifierOf(node);
    if (specifier) {
      found.push({
        specifier: specifier.text,
        line: lineOf(source, specifier),
      });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

function specifierOf(node: ts.Node): ts.StringLiteralLike | undefined {
  let specifier: ts.Node | undefined;
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) {
    specifier = node.moduleSpecifier;
  }
  if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
    specifier = node.argument.literal;
  }
  if (
    ts.isCallExpression(node) &&
    node.expression.kind === ts.SyntaxKind.ImportKeyword
  ) {
    specifier = node.arguments[0];
  }
  return specifier && ts.isStringLiteralLike(specifier) ? specifier : undefined;
}

async function* sourceFiles(
  root: string,
  folder: string,
): AsyncGenerator<string> {
  const entries = await Array.fromAsync(Deno.readDir(join(root, folder)));
  for (const entry of entries.sort((a, b) => a.name.localeCompare(b.name))) {
    if (
      entry.name.startsWith(".") || entry.name === "node_modules"
    ) continue;
    const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
    // What is built there is not ours to keep.
    if (path === "npm") continue;
    if (entry.isDirectory) yield* sourceFiles(root, path);
    else if (/\.(ts|tsx|mts|js|mjs)$/.test(entry.name)) yield path;
  }
}

function layerOf(file: string): string {
  return file.split("/")[0] ?? file;
}

/** `hono/cors` is part of `hono`. */
function packageOf(specifier: string): string {
  return specifier.split("/").slice(0, specifier.startsWith("@") ? 2 : 1).join(
    "/",
  );
}

function lineOf(source: ts.SourceFile, node: ts.Node): number {
  return source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1;
}

if (import.meta.main) {
  const root = Deno.args[0] ?? ".";
  const breaches = await findBreaches(root);
  for (const { file, line, rule } of breaches) {
    console.error(`${file}:${line}: ${rule}`);
  }
  console.log(
    breaches.length === 0
      ? "Layers: ok"
      : `Layers: ${breaches.length} breaches`,
  );
  if (breaches.length > 0) Deno.exit(1);
}
