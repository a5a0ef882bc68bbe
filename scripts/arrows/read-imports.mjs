import { parseAst } from 'vitest/node';

/**
 * Every module that a TypeScript source names, types included: import, export from, `import()`, `import('x')` as
 * a type, `require('x')`, `createRequire(…)('x')`, `import.meta.resolve('x')` and `new URL('./x.js', …)`.
 *
 * Reads the syntax tree, so that words in comments and strings do not count.
 * @param {string} text
 * @returns {{ specifier: string, line: number }[]} in the order of the text
 */
export function readImports(text) {
  const found = [];
  visit(parseAst(text, { lang: 'ts' }), (node) => {
    const specifier = specifierOf(node);
    if (typeof specifier === 'string') found.push({ specifier, start: node.start });
  });
  return found
    .sort((a, b) => a.start - b.start)
    .map(({ specifier, start }) => ({ specifier, line: text.slice(0, start).split('\n').length }));
}

function specifierOf(node) {
  switch (node.type) {
    case 'ImportDeclaration':
    case 'ExportAllDeclaration':
    case 'ExportNamedDeclaration':
    case 'ImportExpression':
    case 'TSImportType':
      return literal(node.source);
    case 'CallExpression':
      return loadsModule(node.callee) ? literal(node.arguments[0]) : undefined;
    case 'NewExpression':
      return node.callee.name === 'URL' ? sourceOnly(literal(node.arguments[0])) : undefined;
    default:
      return undefined;
  }
}

/** `require`, `createRequire(…)` or `import.meta.resolve`, in the place of the function that is called. */
function loadsModule(callee) {
  if (callee.type === 'Identifier') return callee.name === 'require';
  if (callee.type === 'CallExpression') return callee.callee.name === 'createRequire';
  return callee.type === 'MemberExpression' && callee.object.type === 'MetaProperty';
}

/** The text of a string literal, or of a template without holes. */
function literal(node) {
  if (node?.type === 'TemplateLiteral' && node.expressions.length === 0) return node.quasis[0].value.cooked;
  return node?.type === 'Literal' ? node.value : undefined;
}

/** A URL may name any file; one that names a source is how a worker is started. */
function sourceOnly(specifier) {
  return typeof specifier === 'string' && /^\.\.?\/.*\.[jt]s$/.test(specifier) ? specifier : undefined;
}

function visit(node, see) {
  if (Array.isArray(node)) {
    for (const item of node) visit(item, see);
  } else if (node !== null && typeof node === 'object') {
    if (typeof node.type === 'string') see(node);
    for (const value of Object.values(node)) visit(value, see);
  }
}
