/**
 * Who may import whom: the tables behind `check-arrows.mjs`. ARCHITECTURE.md says why.
 *
 * @module
 */
import { isBuiltin } from 'node:module';

/** Folder → the folders that it may import. */
export const ARROWS = {
  errors: [],
  block: ['errors'],
  files: ['errors'],
  objects: ['errors', 'files'],
  pack: ['errors', 'files', 'objects'],
  qcow2: ['errors', 'files', 'block'],
  nbd: ['errors', 'files', 'block'],
  remote: ['errors', 'files', 'objects', 'pack'],
  store: ['errors', 'files', 'block', 'objects', 'pack', 'qcow2', 'nbd', 'remote'],
  cmd: ['errors', 'block', 'qcow2', 'store'],
};

/** Top-level folders that may import anything and that nothing above may import. */
export const OUTSIDE = ['test', 'bench', 'scripts'];

/** Names of package.json's `imports` → the folder that each is a second face of. */
export const NAMED_FACES = { '#store-worker': 'store' };

/** Package → the only folders that may import it. */
const OWNERS = {
  '@noble/hashes': ['objects', 'qcow2'],
  pako: ['objects'],
  commander: ['cmd'],
  'cli-progress': ['cmd'],
  'cli-table3': ['cmd'],
  level: ['store'],
  aws4fetch: ['remote'],
  'fast-xml-parser': ['remote', 'store'],
  'age-encryption': ['remote'],
  ini: ['remote'],
  koffi: ['block', 'objects'],
};

/** Module of Node → the folders that must do without it. */
const DENIED = { 'node:child_process': ['objects', 'pack', 'qcow2', 'block', 'files'] };

/**
 * The rule that `folder` breaks by importing a folder, or undefined.
 * @param {string} folder
 * @param {{ folder: string, isFace: boolean }} target
 */
export function brokenArrow(folder, target) {
  if (target.folder === folder) return undefined;
  const allowed = ARROWS[folder];
  if (!allowed.includes(target.folder)) {
    const list = allowed.length === 0 ? 'no folder' : `only ${allowed.join(', ')}`;
    return `${folder}/ must not import ${target.folder}/: it may import ${list}`;
  }
  return target.isFace ? undefined : `${target.folder}/ is imported from outside only through its index.ts`;
}

/**
 * The rule that `folder` breaks by importing a package or a module of Node, or undefined.
 * @param {string} folder
 * @param {string} specifier
 */
export function brokenOwnership(folder, specifier) {
  if (isBuiltin(specifier)) {
    const name = specifier.startsWith('node:') ? specifier : `node:${specifier}`;
    return DENIED[name]?.includes(folder) ? `${folder}/ must not import ${name}` : undefined;
  }
  const name = specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
  if (name === 'imgstore') return 'the project imports its own folders by relative path';
  const owners = OWNERS[name];
  return owners === undefined || owners.includes(folder)
    ? undefined
    : `${folder}/ must not import ${name}: only ${owners.join(', ')} may`;
}
