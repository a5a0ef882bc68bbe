import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { type Outcome, oneLine } from '../cmd/imgstore.ts';

export const isRoot = process.getuid?.() === 0;

/** Runs a program of the system and returns what it prints; throws when it fails. Tools for file systems are not on everybody's path. */
export function system(command: string, ...args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin`, LC_ALL: 'C' },
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${status}: ${stderr}${stdout}`);
  return stdout;
}

/** Bytes that a file takes on its disk. */
export async function allocated(path: string): Promise<number> {
  return (await stat(path)).blocks * 512;
}

/** Checks that a run failed as a user may expect: exit code, one line that says this, and nothing as result. */
export function expectFailure(outcome: Outcome, status: number, part: string | RegExp): void {
  expect(outcome).toMatchObject({ status, stdout: '' });
  expect(oneLine(outcome)).toMatch(part);
}

/** Packages that are there wherever tests run: programs and sources, some 70 MB. */
const PACKAGES = [
  '@rolldown',
  '@typescript',
  '@oxlint',
  'typescript',
  'vitest',
  'commander',
  'level',
  'fast-check',
];

/** Makes an ext4 file system of this size with real files in it. */
export function makeExt4(path: string, size = '600M'): void {
  const files = `${path}.files`;
  mkdirSync(files);
  const modules = fileURLToPath(new URL('../../node_modules/', import.meta.url));
  system('cp', '-a', ...PACKAGES.map((name) => modules + name), files);
  system('mke2fs', '-q', '-t', 'ext4', '-d', files, path, size);
  rmSync(files, { recursive: true });
}
