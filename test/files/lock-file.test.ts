import { existsSync, mkdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { LockFile } from '../../files/index.ts';
import { temporaryFolder } from '../block/temporary-folder.ts';
import { GitRepository } from '../objects/git.ts';
import { failAtEach, recordPoints } from './fault.ts';
import { filesBelow } from './names.ts';

test('LockFile.take gives the lock to one of two takers and BUSY to the other', async () => {
  const path = join(await temporaryFolder(), 'ref');
  const lock = await LockFile.take('ref', path);
  expect(existsSync(`${path}.lock`)).toBe(true);
  await expect(LockFile.take('ref', path, 0)).rejects.toMatchObject({
    code: 'BUSY',
    data: { path, lock: `${path}.lock` },
  });
  await lock.release();
  await (await LockFile.take('ref', path, 0)).release();
  expect(existsSync(`${path}.lock`)).toBe(false);
});

test('LockFile.take gives the lock to exactly one of many takers', async () => {
  const path = join(await temporaryFolder(), 'ref');
  const takers = await Promise.allSettled(Array.from({ length: 16 }, () => LockFile.take('ref', path, 0)));
  const taken = takers.filter((taker) => taker.status === 'fulfilled');
  expect(taken).toHaveLength(1);
  await taken[0]!.value.release();
});

test('LockFile.take waits for who holds the lock', async () => {
  const path = join(await temporaryFolder(), 'ref');
  const first = await LockFile.take('ref', path);
  const second = LockFile.take('ref', path, 60_000);
  await first.commit(Buffer.from('first'));
  await (await second).commit(Buffer.from('second'));
  expect(readFileSync(path, 'utf8')).toBe('second');
});

test('LockFile lets many takers change a file one after the other', async () => {
  const path = join(await temporaryFolder(), 'count');
  writeFileSync(path, '0');
  const add = async () => {
    const lock = await LockFile.take('ref', path, 60_000);
    await lock.commit(Buffer.from(`${Number(readFileSync(path, 'utf8')) + 1}`));
  };
  await Promise.all(Array.from({ length: 10 }, add));
  expect(readFileSync(path, 'utf8')).toBe('10');
});

test('LockFile.take says how old the lock is and what to do when nobody lets go of it', async () => {
  const path = join(await temporaryFolder(), 'ref');
  writeFileSync(`${path}.lock`, '');
  const hourAgo = Date.now() / 1000 - 3600;
  utimesSync(`${path}.lock`, hourAgo, hourAgo);
  await expect(LockFile.take('ref', path, 20)).rejects.toThrow(
    /ref: locked for 36\d\d s by another process: .*remove .*ref\.lock$/,
  );
  expect(existsSync(`${path}.lock`)).toBe(true);
});

test('LockFile.take throws NOT_FOUND when there is no folder, and IO when it cannot be made', async () => {
  const folder = await temporaryFolder();
  await expect(LockFile.take('ref', join(folder, 'missing', 'ref'))).rejects.toMatchObject({
    code: 'NOT_FOUND',
  });
  writeFileSync(join(folder, 'file'), '');
  await expect(LockFile.take('ref', join(folder, 'file', 'ref'))).rejects.toMatchObject({ code: 'IO' });
});

test('LockFile.commit replaces the content and lets go, in the order that lasts', async () => {
  const folder = await temporaryFolder();
  const path = join(folder, 'ref');
  writeFileSync(path, 'old and longer');
  const passed = recordPoints();
  const lock = await LockFile.take('ref', path);
  expect(readFileSync(path, 'utf8')).toBe('old and longer');
  await lock.commit(Buffer.from('new'));
  expect(readFileSync(path, 'utf8')).toBe('new');
  expect(filesBelow(folder)).toEqual(['ref']);
  expect(passed.map(({ point }) => point)).toEqual([
    'ref.create',
    'ref.write',
    'ref.fsync',
    'ref.rename',
    'ref.fsync-folder',
  ]);
});

test('LockFile.release leaves the content as it was, and another lock alone', async () => {
  const path = join(await temporaryFolder(), 'ref');
  writeFileSync(path, 'old');
  const lock = await LockFile.take('ref', path);
  await lock.release();
  expect(readFileSync(path, 'utf8')).toBe('old');
  const other = await LockFile.take('ref', path, 0);
  await lock.release();
  expect(existsSync(`${path}.lock`)).toBe(true);
  await other.commit(Buffer.from('new'));
  await other.release();
  expect(readFileSync(path, 'utf8')).toBe('new');
});

test('LockFile.release does nothing when the lock was removed by hand', async () => {
  const path = join(await temporaryFolder(), 'ref');
  const lock = await LockFile.take('ref', path);
  rmSync(`${path}.lock`);
  await lock.release();
});

test('LockFile leaves the old content or the new and no lock when the disk is full at any point', async () => {
  const folder = await temporaryFolder();
  const path = join(folder, 'ref');
  writeFileSync(path, 'old');
  const failed = await failAtEach(
    async () => {
      const lock = await LockFile.take('ref', path, 0);
      try {
        await lock.commit(Buffer.from('new'));
      } finally {
        await lock.release();
      }
    },
    (error, point) => {
      expect(error, point).toMatchObject({ code: 'IO', message: expect.stringContaining('no space left') });
      expect(filesBelow(folder)).toEqual(['ref']);
      expect(readFileSync(path, 'utf8')).toBe(point === 'ref.fsync-folder' ? 'new' : 'old');
      writeFileSync(path, 'old');
    },
  );
  expect(failed).toHaveLength(5);
});

test('LockFile and git keep each other from the same ref', async () => {
  const repository = GitRepository.create();
  const tree = repository.store('tree', Buffer.alloc(0));
  const commit = repository.git(['commit-tree', tree, '-m', 'x']);
  const path = join(repository.folder, 'refs', 'heads', 'main');
  mkdirSync(join(repository.folder, 'refs', 'heads'), { recursive: true });
  const lock = await LockFile.take('ref', path);
  expect(() => repository.git(['update-ref', 'refs/heads/main', commit])).toThrow(/lock/);
  await lock.commit(Buffer.from(`${commit}\n`));
  expect(repository.git(['rev-parse', 'refs/heads/main'])).toBe(commit);
  repository.git(['update-ref', '-d', 'refs/heads/main', commit]);
});
