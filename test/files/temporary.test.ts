import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { forgetUnfinished, removeUnfinished, watchUnfinished } from '../../files/index.ts';
import { temporaryFolder } from '../block/temporary-folder.ts';
import { filesBelow } from './names.ts';

/** The built module: a process of its own cannot load the sources. */
const FILES = new URL('../../dist/files/index.js', import.meta.url).href;

/** Runs code in a new process, which has the folder as `folder`. */
function runAlone(folder: string, code: string): SpawnSyncReturns<string> {
  const script = `
    import { LockFile, PendingFile, writeWholeFile } from ${JSON.stringify(FILES)};
    const folder = ${JSON.stringify(folder)};
    ${code}`;
  return spawnSync(process.execPath, ['--input-type=module', '--eval', script], { encoding: 'utf8' });
}

const MAKE = `
  const file = await PendingFile.create('test', folder);
  await file.write(0, Buffer.from('unfinished'));
  const lock = await LockFile.take('ref', folder + '/ref');
  await writeWholeFile('test', folder + '/done', Buffer.from('done'));`;

test.each([
  ['comes to its end', '', 0],
  ['calls process.exit', 'process.exit(3);', 3],
  ['throws', 'throw new Error("unexpected");', 1],
])('temporary files and locks go when the process %s, and finished files stay', async (_, end, status) => {
  const folder = await temporaryFolder();
  const { status: found, stderr } = runAlone(folder, MAKE + end);
  expect(found, stderr).toBe(status);
  expect(filesBelow(folder)).toEqual(['done']);
});

test('temporary files and locks stay under names that tell them when the process is killed', async () => {
  const folder = await temporaryFolder();
  expect(runAlone(folder, `${MAKE}process.kill(process.pid, 'SIGKILL');`).signal).toBe('SIGKILL');
  expect(filesBelow(folder)).toEqual([
    'done',
    'ref.lock',
    expect.stringMatching(/^tmp_test_[0-9a-f]{8}-\d+-\d+_[0-9a-f]{12}$/),
  ]);
});

test('removeUnfinished removes what is under watch and leaves what was forgotten', async () => {
  const folder = await temporaryFolder();
  const [watched, forgotten] = [join(folder, 'watched'), join(folder, 'forgotten')];
  for (const path of [watched, forgotten]) {
    watchUnfinished(path);
    writeFileSync(path, '');
  }
  watchUnfinished(join(folder, 'never made'));
  forgetUnfinished(forgotten);
  removeUnfinished();
  expect(existsSync(watched)).toBe(false);
  expect(existsSync(forgotten)).toBe(true);
});

test('watchUnfinished listens for the end of the process only while there is something to remove', () => {
  const before = process.listenerCount('exit');
  for (let i = 0; i < 30; i++) watchUnfinished(`/nowhere/${i}`);
  expect(process.listenerCount('exit')).toBe(before + 1);
  for (let i = 0; i < 30; i++) forgetUnfinished(`/nowhere/${i}`);
  expect(process.listenerCount('exit')).toBe(before);
  watchUnfinished('/nowhere/1');
  removeUnfinished();
  expect(process.listenerCount('exit')).toBe(before);
});
