/**
 * Checks that imports between the top-level folders run one way, as the tables in arrows/rules.mjs say, that a
 * folder is entered through its index.ts, and that there are no circles, of folders or of files.
 *
 * Usage: node scripts/check-arrows.mjs [folder of the project]
 *
 * @module
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { findCycles } from './arrows/find-cycles.mjs';
import { readImports } from './arrows/read-imports.mjs';
import { ARROWS, brokenArrow, brokenOwnership, NAMED_FACES, OUTSIDE } from './arrows/rules.mjs';
import { PROJECT } from './setup/project.mjs';

const root = process.argv[2] ?? PROJECT;
const problems = [];
const report = (file, line, rule) => problems.push(`${file}:${line}: ${rule}`);

const folders = readdirSync(root, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && !/^(\.|node_modules$|dist$|coverage$)/.test(entry.name))
  .map((entry) => entry.name)
  .filter((name) => !OUTSIDE.includes(name))
  .sort((a, b) => (a < b ? -1 : 1));

const edges = folders.flatMap((folder) => sources(folder).flatMap((file) => readEdges(folder, file)));
const imported = edges.filter((edge) => edge.target !== undefined);
for (const { path, file, line } of findCycles(graphOf(imported, (edge) => [edge.file, edge.target.file]))) {
  report(file, line, `files import each other in a circle: ${path.join(' → ')}`);
}
const between = imported.filter((edge) => edge.folder !== edge.target.folder);
for (const { path, file, line } of findCycles(graphOf(between, (e) => [e.folder, e.target.folder]))) {
  report(file, line, `folders import each other in a circle: ${path.join(' → ')}`);
}

for (const problem of problems) console.error(problem);
if (problems.length > 0) {
  console.error(
    `check-arrows: ${problems.length} ${problems.length === 1 ? 'import breaks' : 'imports break'} the rules`,
  );
  process.exitCode = 1;
}

/** Paths of the TypeScript sources under a folder, relative to the root. */
function sources(folder) {
  return readdirSync(join(root, folder), { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = posix.join(folder, entry.name);
      if (entry.isDirectory()) return sources(path);
      return /(?<!\.d)\.ts$/.test(entry.name) ? [path] : [];
    });
}

/** The imports of one file, each with the file of the project that it leads to, if any; reports broken rules. */
function readEdges(folder, file) {
  if (!(folder in ARROWS)) {
    report(file, 1, `${folder}/ has no row in scripts/arrows/rules.mjs: say there what it may import`);
    return [];
  }
  return readImports(readFileSync(join(root, file), 'utf8')).map(({ specifier, line }) => {
    const target = resolve(file, specifier);
    const rule = target === undefined ? brokenOwnership(folder, specifier) : brokenArrow(folder, target);
    if (rule !== undefined) report(file, line, rule);
    return { folder, file, line, target };
  });
}

/** The folder and file that a specifier leads to, or undefined for a package or a module of Node. */
function resolve(file, specifier) {
  if (specifier in NAMED_FACES) return { folder: NAMED_FACES[specifier], file: specifier, isFace: true };
  if (!specifier.startsWith('.')) return undefined;
  const path = posix.join(posix.dirname(file), specifier);
  const folder = path.split('/', 1)[0];
  // A worker is named as it will be after the build.
  const source = path.replace(/\.js$/, '.ts');
  return {
    folder,
    file: existsSync(join(root, source)) ? source : path,
    isFace: path === `${folder}/index.ts`,
  };
}

/** Edges as a graph of whatever `ends` takes their two ends to be. */
function graphOf(list, ends) {
  const graph = new Map();
  for (const edge of list) {
    const [from, to] = ends(edge);
    graph.set(from, [...(graph.get(from) ?? []), { to, file: edge.file, line: edge.line }]);
  }
  return graph;
}
