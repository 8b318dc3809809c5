/**
 * Takes out of a declaration what is public for the sources alone: with it, half of
 * the server would have to be declared.
 *
 * @module
 */
import ts from "typescript";

/** A piece of text, and what takes its place. */
interface Edit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/**
 * The declaration without the members that are marked `@ignore`, and without the
 * imports that only those need. A constructor stays one that nobody may call.
 */
export function withoutIgnored(declaration: string): string {
  const source = parse(declaration);
  const edits = source.statements.filter(ts.isClassDeclaration)
    .flatMap(({ members }) =>
      members.filter((member) =>
        isIgnored(member) || isSaidTwice(member, members)
      )
    )
    .map((member) => ({
      start: member.getFullStart(),
      end: member.end,
      text: ts.isConstructorDeclaration(member)
        ? "\n    protected constructor();"
        : "",
    }));
  return edits.length === 0
    ? declaration
    : withoutUnusedImports(apply(declaration, edits));
}

function isIgnored(member: ts.ClassElement): boolean {
  return ts.getJSDocTags(member).some(({ tagName }) =>
    tagName.text === "ignore"
  );
}

/** TypeScript 6.0 declares `[Symbol.asyncDispose]()` as a property, too, where it sees one file alone. */
function isSaidTwice(
  member: ts.ClassElement,
  members: readonly ts.ClassElement[],
): boolean {
  const { name } = member;
  return ts.isPropertyDeclaration(member) && name !== undefined &&
    ts.isComputedPropertyName(name) &&
    members.some((other) =>
      ts.isMethodDeclaration(other) && other.name.getText() === name.getText()
    );
}

function withoutUnusedImports(declaration: string): string {
  const source = parse(declaration);
  const imports = source.statements.filter(ts.isImportDeclaration);
  const used = new Set<string>();
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) return;
    if (ts.isIdentifier(node)) used.add(node.text);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return apply(declaration, imports.map((found) => toEdit(found, used)));
}

function toEdit(found: ts.ImportDeclaration, used: Set<string>): Edit {
  const { importClause, moduleSpecifier } = found;
  const bindings = importClause?.namedBindings;
  const names = bindings && ts.isNamedImports(bindings)
    ? bindings.elements.filter(({ name }) => used.has(name.text))
    : [];
  // Not its own "type", which `import type` has already.
  const list = names.map(({ propertyName, name }) =>
    propertyName ? `${propertyName.getText()} as ${name.text}` : name.text
  ).join(", ");
  return {
    start: found.getStart(),
    end: found.end,
    text: names.length === 0
      ? ""
      : `import type { ${list} } from ${moduleSpecifier.getText()};`,
  };
}

function parse(text: string): ts.SourceFile {
  return ts.createSourceFile("any.d.ts", text, ts.ScriptTarget.Latest, true);
}

function apply(text: string, edits: readonly Edit[]): string {
  return edits.toReversed().reduce(
    (result, { start, end, text }) =>
      result.slice(0, start) + text + result.slice(end),
    text,
  );
}
