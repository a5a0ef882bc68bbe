import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { utimes } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { PROGRAM, Workplace } from './imgstore.ts';
import { writeDisk } from './sample.ts';

/** What the store has for other verbs than those that are run here. */
const OF_OTHERS = ['function checkStore(', 'function collectGarbage(', 'function forgetVersions('];
/** What log has no need of, but commit has. */
const OF_COMMIT = ['function commitVersion(', 'class Qcow2Image', 'class NbdSource'];

/** Packages that are loaded when there is something for them to do. */
const OF_DATA = ['@cloudpss/zstd', '@noble/hashes', 'cli-progress', 'cli-table3', 'koffi', 'pako'];

/** Path of a file of the build. */
function built(path: string): string {
  return fileURLToPath(new URL(`../../dist/${path}`, import.meta.url));
}

/** Files that imgstore loads for a command line. */
function loadedFiles(place: Workplace, ...args: readonly string[]): string[] {
  return loadedBy(place, [PROGRAM, ...args]);
}

/** Files that Node loads: it writes coverage of every script that has run. */
function loadedBy(place: Workplace, args: readonly string[]): string[] {
  const folder = place.path('coverage');
  const env = { ...place.environment, NODE_V8_COVERAGE: folder };
  const { status, stderr } = spawnSync(process.execPath, args, { cwd: place.folder, env, encoding: 'utf8' });
  expect([status, stderr]).toEqual([0, '']);
  return readdirSync(folder).flatMap((name) => {
    const { result } = JSON.parse(readFileSync(`${folder}/${name}`, 'utf8'));
    const urls: string[] = result.map(({ url }: { url: string }) => url);
    return urls.filter((url) => url.startsWith('file:')).map((url) => fileURLToPath(url));
  });
}

/** Names of the packages that files belong to, each once. */
function packagesOf(files: readonly string[]): string[] {
  const names = files.map((file) => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1]);
  return [...new Set(names)].filter((name) => name !== undefined).sort();
}

/** The texts among `parts` that one of the files has. */
function partsOf(files: readonly string[], parts: readonly string[]): string[] {
  const texts = files.map((file) => readFileSync(file, 'utf8'));
  return parts.filter((part) => texts.some((text) => text.includes(part)));
}

test('the build has the parts whose loading is looked for here', () => {
  const chunks = built('chunks/');
  const files = readdirSync(chunks).map((name) => chunks + name);
  expect(partsOf(files, [...OF_OTHERS, ...OF_COMMIT])).toEqual([...OF_OTHERS, ...OF_COMMIT]);
});

test('--version loads the parser of the command line, and nothing of the store', async () => {
  const files = loadedFiles(await Workplace.create(), '--version');
  expect(files).toContain(PROGRAM);
  expect(packagesOf(files)).toEqual(['commander']);
  expect(partsOf(files, [...OF_OTHERS, ...OF_COMMIT, 'class Store '])).toEqual([]);
});

test('log loads no package but the parser, and of the store nothing that others need', async () => {
  const place = await Workplace.withStore();
  await writeDisk(place, 'web.raw', 1);
  await place.ok('commit', 'web.raw');
  const files = loadedFiles(place, 'log');
  expect(packagesOf(files)).toEqual(['commander']);
  expect(partsOf(files, [...OF_OTHERS, ...OF_COMMIT, 'class Store '])).toEqual(['class Store ']);
});

test('commit of a file that the stat cache knows loads no codecs, no table and no progress bar', async () => {
  const place = await Workplace.withStore();
  await writeDisk(place, 'web.raw', 1);
  await utimes(place.path('web.raw'), 1000, 1000.5);
  await place.ok('commit', 'web.raw');
  const files = loadedFiles(place, 'commit', 'web.raw');
  const packages = packagesOf(files);
  expect(packages).toEqual(expect.arrayContaining(['commander', 'classic-level']));
  for (const name of OF_DATA) expect(packages).not.toContain(name);
  expect(partsOf(files, OF_OTHERS)).toEqual([]);
});

test('imgstore/store loads nothing of the command line, and no codecs before there is data', async () => {
  const packages = packagesOf(loadedBy(await Workplace.create(), [built('store/index.js')]));
  for (const name of ['commander', ...OF_DATA]) expect(packages).not.toContain(name);
});

test('a worker thread loads no package before there is data', async () => {
  const thread = built('store/workers/thread.js');
  const start = `const thread = new (require('worker_threads').Worker)(${JSON.stringify(thread)}); thread.once('message', () => thread.terminate());`;
  const files = loadedBy(await Workplace.create(), ['-e', start]);
  expect(files).toContain(thread);
  expect(packagesOf(files)).toEqual([]);
});
