import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../block/temporary-folder.ts';
import { scriptPath, writeTree } from './project-script.ts';

type Missing = { name: string; parts: string[] }[];

const { missingPackages, missingServers, describeMissing } = (await import(
  pathToFileURL(scriptPath('setup/system-packages.mjs')).href
)) as {
  missingPackages: (
    find?: (command: string) => string | undefined,
    has?: (library: string) => boolean,
  ) => Missing;
  missingServers: (find: (command: string) => string | undefined, isStartedBySystem: boolean) => string[];
  describeMissing: (missing: Missing) => string;
};
const { findCommand, searchPath } = (await import(
  pathToFileURL(scriptPath('setup/find-command.mjs')).href
)) as {
  findCommand: (name: string, path: string) => string | undefined;
  searchPath: (path: string) => string;
};

const { hasLibrary } = (await import(pathToFileURL(scriptPath('setup/find-library.mjs')).href)) as {
  hasLibrary: (name: string) => boolean;
};
const anyCommand = (command: string) => `/usr/bin/${command}`;

test('missingPackages is empty when every command and library is there', () => {
  expect(missingPackages(anyCommand, () => true)).toEqual([]);
});

test('missingPackages names each package of which one command is missing', () => {
  const absent = ['qemu-io', 'mke2fs', 'debugfs'];
  expect(
    missingPackages(
      (command) => (absent.includes(command) ? undefined : command),
      () => true,
    ),
  ).toEqual([
    { name: 'qemu-utils', parts: ['qemu-io'] },
    { name: 'e2fsprogs', parts: ['mke2fs', 'debugfs'] },
  ]);
});

test('missingPackages names the packages of libraries that the loader does not find', () => {
  expect(missingPackages(anyCommand, () => false)).toEqual([
    { name: 'libdeflate0', parts: ['libdeflate.so.0'] },
    { name: 'libisal2', parts: ['libisal.so.2'] },
  ]);
});

test('missingServers names an ssh server that is not there, and none where the system would start it', () => {
  const nothing = () => undefined;
  expect(missingServers(nothing, false)).toEqual(['openssh-server']);
  expect(missingServers(nothing, true)).toEqual([]);
  expect(missingServers(anyCommand, false)).toEqual([]);
});

test('hasLibrary is true for a library that the loader finds and false for another', () => {
  expect(hasLibrary('libdeflate.so.0')).toBe(true);
  expect(hasLibrary('libmissing-of-imgstore.so.0')).toBe(false);
});

test('describeMissing is one line with the commands and what installs them', () => {
  expect(
    describeMissing([
      { name: 'qemu-utils', parts: ['qemu-img', 'qemu-io'] },
      { name: 'git', parts: ['git'] },
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
