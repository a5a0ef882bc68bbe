import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../block/temporary-folder.ts';
import { scriptPath, writeTree } from './project-script.ts';

type Missing = { name: string; commands: string[] }[];

const { missingPackages, describeMissing } = (await import(
  pathToFileURL(scriptPath('setup/system-packages.mjs')).href
)) as {
  missingPackages: (find: (command: string) => string | undefined) => Missing;
  describeMissing: (missing: Missing) => string;
};
const { findCommand, searchPath } = (await import(
  pathToFileURL(scriptPath('setup/find-command.mjs')).href
)) as {
  findCommand: (name: string, path: string) => string | undefined;
  searchPath: (path: string) => string;
};

test('missingPackages is empty when every command is there', () => {
  expect(missingPackages((command) => `/usr/bin/${command}`)).toEqual([]);
});

test('missingPackages names each package of which one command is missing', () => {
  const absent = ['qemu-io', 'mke2fs', 'debugfs'];
  expect(missingPackages((command) => (absent.includes(command) ? undefined : command))).toEqual([
    { name: 'qemu-utils', commands: ['qemu-io'] },
    { name: 'e2fsprogs', commands: ['mke2fs', 'debugfs'] },
  ]);
});

test('describeMissing is one line with the commands and what installs them', () => {
  expect(
    describeMissing([
      { name: 'qemu-utils', commands: ['qemu-img', 'qemu-io'] },
      { name: 'git', commands: ['git'] },
    ]),
  ).toBe(
    'the tests need qemu-img, qemu-io, git: install them, on Debian with: ' +
      'sudo apt-get update && sudo apt-get install --yes --no-install-recommends qemu-utils git',
  );
});

test('findCommand takes the first program and passes over folders and files that cannot be run', async () => {
  const root = await temporaryFolder();
  writeTree(root, { 'a/tool/file': '', 'b/tool': '', 'c/tool': '', 'd/tool': '' });
  chmodSync(join(root, 'b/tool'), 0o644);
  for (const folder of ['c', 'd']) chmodSync(join(root, folder, 'tool'), 0o755);
  const path = ['a', 'b', 'missing', 'c', 'd'].map((folder) => join(root, folder)).join(':');
  expect(findCommand('tool', path)).toBe(join(root, 'c/tool'));
  expect(findCommand('other', path)).toBeUndefined();
});

test('searchPath adds the folders of system commands when PATH lacks them', () => {
  expect(searchPath('/usr/bin::/usr/sbin')).toBe('/usr/bin:/usr/sbin:/usr/local/sbin:/sbin');
});
