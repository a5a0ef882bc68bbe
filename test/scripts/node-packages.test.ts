import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../block/temporary-folder.ts';
import { scriptPath, writeTree } from './project-script.ts';

const { nodePackagesMatchLock } = (await import(
  pathToFileURL(scriptPath('setup/node-packages.mjs')).href
)) as { nodePackagesMatchLock: (root: string) => boolean };

const LEVEL = { version: '10.0.0', integrity: 'sha512-aaaa' };
const KOFFI = { version: '3.3.4', integrity: 'sha512-bbbb', optional: true };

/** A project whose lock file asks for `wanted` and whose node_modules holds `present`. */
async function project(wanted: object, present: object): Promise<string> {
  const root = await temporaryFolder();
  writeTree(root, {
    'package-lock.json': JSON.stringify({ packages: { '': { name: 'imgstore' }, ...wanted } }),
    'node_modules/.package-lock.json': JSON.stringify({ packages: present }),
  });
  return root;
}

test('nodePackagesMatchLock is true when the same packages are installed', async () => {
  const packages = { 'node_modules/level': LEVEL, 'node_modules/koffi': KOFFI };
  expect(nodePackagesMatchLock(await project(packages, packages))).toBe(true);
});

test('nodePackagesMatchLock is true when only an optional package is not installed', async () => {
  const wanted = { 'node_modules/level': LEVEL, 'node_modules/koffi': KOFFI };
  expect(nodePackagesMatchLock(await project(wanted, { 'node_modules/level': LEVEL }))).toBe(true);
});

test.each([
  ['another version is installed', { 'node_modules/level': { ...LEVEL, version: '9.0.0' } }],
  ['other bytes are installed', { 'node_modules/level': { ...LEVEL, integrity: 'sha512-cccc' } }],
  ['a package is missing', {}],
  ['a package is left over', { 'node_modules/level': LEVEL, 'node_modules/old': LEVEL }],
])('nodePackagesMatchLock is false when %s', async (_, present) => {
  expect(nodePackagesMatchLock(await project({ 'node_modules/level': LEVEL }, present))).toBe(false);
});

test('nodePackagesMatchLock is false when node_modules is missing or was left half made', async () => {
  const root = await project({}, {});
  writeTree(root, { 'node_modules/.package-lock.json': '{"packages": {' });
  expect(nodePackagesMatchLock(root)).toBe(false);
  rmSync(join(root, 'node_modules'), { recursive: true });
  expect(nodePackagesMatchLock(root)).toBe(false);
});
