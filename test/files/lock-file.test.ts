import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { encodeOwner, LockFile, thisProcess, watchPoints } from '../../files/index.ts';
import { temporaryFolder } from '../block/temporary-folder.ts';
import { GitRepository } from '../objects/git.ts';
import { deadLock, deadOwner } from './dead.ts';
import { failAtEach, recordPoints } from './fault.ts';
import { filesBelow } from './names.ts';

test('LockFile.take gives the lock to one of two takers and BUSY to the other', async () => {
  const path = join(await temporaryFolder(), 'ref');
  const lock = await LockFile.take('ref', path);
  expect(existsSync(`${path}.lock`)).toBe(true);
  await expect(LockFile.take('ref', path, { lockWaitMs: 0 })).rejects.toMatchObject({
    code: 'BUSY',
    data: { path, lock: `${path}.lock` },
  });
  await lock.release();
  await (await LockFile.take('ref', path, { lockWaitMs: 0 })).release();
  expect(existsSync(`${path}.lock`)).toBe(false);
});

test('LockFile.take gives the lock to exactly one of many takers', async () => {
  const path = join(await temporaryFolder(), 'ref');
  const takers = await Promise.allSettled(
    Array.from({ length: 16 }, () => LockFile.take('ref', path, { lockWaitMs: 0 })),
  );
  const taken = takers.filter((taker) => taker.status === 'fulfilled');
  expect(taken).toHaveLength(1);
  await taken[0]!.value.release();
});

test('LockFile.take waits for who holds the lock', async () => {
  const path = join(await temporaryFolder(), 'ref');
  const first = await LockFile.take('ref', path);
  const second = LockFile.take('ref', path, { lockWaitMs: 60_000 });
  await first.commit(Buffer.from('first'));
  await (await second).commit(Buffer.from('second'));
  expect(readFileSync(path, 'utf8')).toBe('second');
});

test('LockFile lets many takers change a file one after the other', async () => {
  const path = join(await temporaryFolder(), 'count');
  writeFileSync(path, '0');
  const add = async () => {
    const lock = await LockFile.take('ref', path, { lockWaitMs: 60_000 });
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
  await expect(LockFile.take('ref', path, { lockWaitMs: 20 })).rejects.toThrow(
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
    'ref.link',
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
  const other = await LockFile.take('ref', path, { lockWaitMs: 0 });
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
      const lock = await LockFile.take('ref', path, { lockWaitMs: 0 });
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
  expect(failed).toHaveLength(7);
});

test('LockFile says in the lock which process has it while it is held', async () => {
  const path = join(await temporaryFolder(), 'ref');
  const lock = await LockFile.take('ref', path);
  const said: [string, string][] = [];
  const stop = watchPoints((point) => {
    if (point !== 'ref.fsync-folder') said.push([point, readFileSync(`${path}.lock`, 'utf8')]);
  });
  onTestFinished(stop);
  await lock.commit(Buffer.from('new'));
  expect(said.map(([point]) => point)).toEqual(['ref.create', 'ref.write', 'ref.fsync', 'ref.rename']);
  for (const [point, text] of said) expect(text, point).toBe(encodeOwner(thisProcess()));
});

test('LockFile.take throws BUSY with process, machine, age and task of who has the lock', async () => {
  const path = join(await temporaryFolder(), 'ref');
  const owner = { ...thisProcess(), host: 'elsewhere' };
  writeFileSync(`${path}.lock`, `${encodeOwner(owner)}imgstore commit\n`);
  const hourAgo = Date.now() / 1000 - 3600;
  utimesSync(`${path}.lock`, hourAgo, hourAgo);
  const error = await LockFile.take('ref', path, { lockWaitMs: 0 }).catch((caught: unknown) => caught);
  expect(error).toMatchObject({ code: 'BUSY', data: { pid: process.pid, host: 'elsewhere' } });
  expect(String(error)).toMatch(
    /ref: locked for 36\d\d s by process \d+ on elsewhere \(imgstore commit\): .*remove .*ref\.lock$/,
  );
});

test('LockFile.take takes over the lock of a process that is gone, and LockFile.waitUntilFree does not wait for it', async () => {
  const folder = await temporaryFolder();
  const path = join(folder, 'ref');
  writeFileSync(`${path}.lock`, deadLock());
  await LockFile.waitUntilFree(path, { lockWaitMs: 0 });
  expect(existsSync(`${path}.lock`)).toBe(true);
  const lock = await LockFile.take('ref', path, { lockWaitMs: 0 });
  expect(readFileSync(`${path}.lock`, 'utf8')).toBe(encodeOwner(thisProcess()));
  await lock.commit(Buffer.from('new'));
  expect(filesBelow(folder)).toEqual(['ref']);
});

test.each([
  ['says nothing', ''],
  ['is being written by git', `${'a'.repeat(64)}\n`],
  ['was cut off', deadLock().slice(0, -3)],
  ['is of another machine', encodeOwner({ ...deadOwner(), host: 'elsewhere' })],
])('LockFile never takes over a lock that %s', async (_, text) => {
  const path = join(await temporaryFolder(), 'ref');
  writeFileSync(`${path}.lock`, text);
  await expect(LockFile.take('ref', path, { lockWaitMs: 30 })).rejects.toMatchObject({ code: 'BUSY' });
  await expect(LockFile.waitUntilFree(path, { lockWaitMs: 0 })).rejects.toMatchObject({ code: 'BUSY' });
  expect(readFileSync(`${path}.lock`, 'utf8')).toBe(text);
});

test('LockFile.take leaves a lock that was taken anew between its two looks', async () => {
  const path = join(await temporaryFolder(), 'ref');
  const alive = encodeOwner({ ...thisProcess(), host: 'elsewhere' });
  writeFileSync(`${path}.lock`, deadLock());
  let points = 0;
  const stop = watchPoints((point) => {
    // The heir lock is being made: meanwhile another process was quicker.
    if (point === 'ref.link' && points++ === 0) writeFileSync(`${path}.lock`, alive);
  });
  onTestFinished(stop);
  await expect(LockFile.take('ref', path, { lockWaitMs: 0 })).rejects.toMatchObject({ code: 'BUSY' });
  expect(readFileSync(`${path}.lock`, 'utf8')).toBe(alive);
});

test('LockFile.take takes over from a process that was killed while it took over', async () => {
  const folder = await temporaryFolder();
  const path = join(folder, 'ref');
  const stale = deadLock();
  writeFileSync(`${path}.lock`, stale);
  const made: string[] = [];
  const stop = watchPoints((point, at) => {
    if (point === 'ref.link') made.push(at);
    if (point === 'ref.rename') throw new Error('killed');
  });
  await expect(LockFile.take('ref', path)).rejects.toThrow('killed');
  stop();
  writeFileSync(made[0]!, deadLock());
  const lock = await LockFile.take('ref', path, { lockWaitMs: 0 });
  await lock.release();
  expect(filesBelow(folder)).toEqual([]);
});

test('LockFile.take makes a lock where there are no links', async () => {
  const folder = await temporaryFolder();
  const path = join(folder, 'ref');
  const stop = watchPoints((point) => {
    if (point === 'ref.link') throw Object.assign(new Error('no'), { code: 'EPERM' });
  });
  onTestFinished(stop);
  const lock = await LockFile.take('ref', path);
  expect(readFileSync(`${path}.lock`, 'utf8')).toBe(encodeOwner(thisProcess()));
  await expect(LockFile.take('ref', path, { lockWaitMs: 0 })).rejects.toMatchObject({ code: 'BUSY' });
  await lock.release();
  expect(filesBelow(folder)).toEqual([]);
});

test('LockFile.take ends its wait when it is told to', async () => {
  const path = join(await temporaryFolder(), 'ref');
  writeFileSync(`${path}.lock`, '');
  const controller = new AbortController();
  const rules = { lockWaitMs: Number.POSITIVE_INFINITY, signal: controller.signal };
  const taking = LockFile.take('ref', path, rules);
  setTimeout(() => controller.abort(), 20);
  await expect(taking).rejects.toMatchObject({ code: 'INTERRUPTED' });
});

/** Takes the lock again and again, and dies with it each time; says on stdout when it finds another in it. */
const TAKER = `
  import { mkdirSync, rmdirSync } from 'node:fs';
  import { LockFile } from ${JSON.stringify(new URL('../../dist/files/index.js', import.meta.url).href)};
  const [path, rounds] = process.argv.slice(1);
  for (let i = 0; i < Number(rounds); i++) {
    const lock = await LockFile.take('ref', path, { lockWaitMs: Infinity });
    // Two who hold the lock at once would make the same folder.
    mkdirSync(path + '.inside');
    rmdirSync(path + '.inside');
    if (i === Number(rounds) - 1) process.kill(process.pid, 'SIGKILL');
    await lock.release();
  }`;

test('LockFile is held by one process at a time when many take over from many that are killed', async () => {
  const folder = await temporaryFolder();
  const path = join(folder, 'ref');
  const ends = Array.from({ length: 24 }, async (_, i) => {
    const taker = spawn(process.execPath, ['--input-type=module', '-e', TAKER, path, String(1 + (i % 4))]);
    let said = '';
    taker.stderr.on('data', (bytes: Buffer) => {
      said += bytes.toString();
    });
    const [, signal] = (await once(taker, 'close')) as [number | null, string | null];
    return { signal, said };
  });
  for (const end of await Promise.all(ends)) expect(end).toEqual({ signal: 'SIGKILL', said: '' });
  await (await LockFile.take('ref', path, { lockWaitMs: 0 })).release();
  expect(filesBelow(folder)).toEqual([]);
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
