/**
 * Checks the entry points of `deno.json`: that they exist, are documented, name
 * what they export one by one, and show no type that other runtimes lack.
 *
 * Run it by `deno task check:exports`.
 *
 * @module
 */
import ts from "typescript";

/** Finds what is wrong with the entry points of the checkout at `root`, as sentences for people. */
export async function findExportFaults(root: string): Promise<string[]> {
  const config = JSON.parse(await Deno.readTextFile(`${root}/deno.json`)) as {
    exports: Record<string, string>;
  };
  const faults: string[] = [];
  for (const [name, path] of Object.entries(config.exports)) {
    const text = await Deno.readTextFile(`${root}/${path}`).catch(() =>
      undefined
    );
    if (text === undefined) {
      faults.push(`"${name}" is exported from ${path}, which does not exist`);
      continue;
    }
    if (exportsWholesale(path, text)) {
      faults.push(
        `${path} has an "export *": a new public name must show up in review`,
      );
    }
    faults.push(...await docFaults(root, path));
  }
  return faults;
}

function exportsWholesale(path: string, text: string): boolean {
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest);
  return source.statements.some((statement) =>
    ts.isExportDeclaration(statement) &&
    (statement.exportClause === undefined ||
      ts.isNamespaceExport(statement.exportClause))
  );
}

async function docFaults(root: string, path: string): Promise<string[]> {
  const lint = await deno(root, ["doc", "--lint", path]);
  const faults = lint.success
    ? []
    : [`${path} fails deno doc --lint:\n${lint.text}`];
  const json = await deno(root, ["doc", "--json", path]);
  if (!json.success) {
    return [...faults, `${path} cannot be described:\n${json.text}`];
  }
  const modules = Object.values(
    (JSON.parse(json.text) as { nodes: Record<string, DocModule> }).nodes,
  );
  if (
    !modules.some((module) =>
      module.module_doc?.tags?.some((tag) => tag.kind === "module")
    )
  ) {
    faults.push(`${path} has no comment with @module`);
  }
  const leaks = new Set<string>();
  for (const module of modules) collectLeaks(module.symbols, leaks);
  return [
    ...faults,
    ...[...leaks].map((leak) => `${path} shows ${leak} in its declarations`),
  ];
}

/** The part of `deno doc --json` that is read here. */
interface DocModule {
  readonly module_doc?: {
    readonly tags?: readonly { readonly kind: string }[];
  };
  readonly symbols: unknown;
}

/** A type of Deno breaks consumers on Node, a type of a package ties them to its version. */
function collectLeaks(node: unknown, leaks: Set<string>): void {
  if (typeof node !== "object" || node === null) return;
  const { kind, value } = node as { kind?: unknown; value?: unknown };
  const name = kind === "typeQuery"
    ? value
    : (value as { typeName?: unknown } | undefined)?.typeName;
  if (kind === "typeRef" || kind === "typeQuery") {
    if (typeof name === "string" && /^(Deno|NodeJS|Buffer)\b/.test(name)) {
      leaks.add(name);
    }
  }
  const specifier = (node as { specifier?: unknown }).specifier;
  if (
    kind === "import" && typeof specifier === "string" &&
    !specifier.startsWith(".")
  ) {
    leaks.add(`"${specifier}"`);
  }
  for (const child of Object.values(node)) collectLeaks(child, leaks);
}

async function deno(
  root: string,
  args: string[],
): Promise<{ success: boolean; text: string }> {
  const output = await new Deno.Command(Deno.execPath(), {
    args,
    cwd: root,
    env: { NO_COLOR: "1" },
  })
    .output();
  const decoder = new TextDecoder();
  return {
    success: output.success,
    text: decoder.decode(output.success ? output.stdout : output.stderr),
  };
}

if (import.meta.main) {
  const faults = await findExportFaults(Deno.args[0] ?? ".");
  for (const fault of faults) console.error(fault);
  console.log(
    faults.length === 0 ? "Exports: ok" : `Exports: ${faults.length} faults`,
  );
  if (faults.length > 0) Deno.exit(1);
}
