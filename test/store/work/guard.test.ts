import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { collectGarbage, createBranch, createTag, Store } from '../../../store/index.ts';
import { abandonSweep, beginSweep, endSweep, isSameSweep, readSweeps } from '../../../store/work/sweeps.ts';
import { diskOf } from '../disks.ts';
import { git } from '../git.ts';
import { commitBytes, newStore, reopen, type TestStore } from '../new-store.ts';

/** A store with a version that no ref leads to and of which a cluster is gone; returns its id. */
async function storeWithLoss(): Promise<TestStore & { lost: string }> {
  const made = await newStore();
  await commitBytes(made, 'web', diskOf([1, 2, 3]));
  const { commit: lost } = await commitBytes(made, 'gone', diskOf([7, 8, 9]));
  const blob = (await git(made.path, 'ls-tree', '-r', 'gone', 'disks')).split(/\s/)[2]!;
  await git(made.path, 'update-ref', '-d', 'refs/heads/gone');
  rmSync(join(made.path, 'objects', blob.slice(0, 2), blob.slice(2)));
  return { ...made, lost };
}

test('a ref is moved without a look at the version when there was no sweep', async () => {
  const made = await storeWithLoss();
  await createBranch(made.store, 'back', made.lost);
});

test.each([
  ['has come to its end', endSweep],
  ['was given up', abandonSweep],
])('a ref is not moved to a version of which a part has gone when a sweep %s meanwhile', async (_, end) => {
  const made = await storeWithLoss();
  await beginSweep(made.store);
  await end(made.store);
  await expect(createBranch(made.store, 'back', made.lost)).rejects.toMatchObject({
    code: 'BUSY',
    message: expect.stringContaining('run the command again'),
  });
  expect(await git(made.path, 'for-each-ref', '--format=%(refname)')).toBe('refs/heads/web');
  await createTag(made.store, 'v1', 'web');
});

test('a ref waits for a sweep that is under way', async () => {
  const made = await newStore();
  await commitBytes(made, 'web', diskOf([1, 2, 3]));
  await beginSweep(made.store);
  const moved = createBranch(made.store, 'ci', 'web');
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(await git(made.path, 'branch', '--list', 'ci')).toBe('');
  await endSweep(made.store);
  await moved;
  expect(await git(made.path, 'branch', '--list', 'ci')).not.toBe('');
});

test('damage in what refs lead to does not keep new versions out after a sweep', async () => {
  const made = await newStore();
  await commitBytes(made, 'web', diskOf([1, 2, 3]));
  const blob = (await git(made.path, 'ls-tree', '-r', 'web', 'disks')).split(/\s/)[2]!;
  rmSync(join(made.path, 'objects', blob.slice(0, 2), blob.slice(2)));
  const store = await reopen(made.path);
  await beginSweep(made.store);
  await endSweep(made.store);
  await commitBytes({ ...made, store }, 'web', diskOf([4, 5, 6]));
});

test('readSweeps takes a damaged file for a state that is the same as no other', async () => {
  const { path, store } = await newStore();
  const before = readSweeps(path);
  expect(isSameSweep(before, readSweeps(path))).toBe(true);
  for (const text of ['', 'x\n', '1', '1\nnobody\n2\n', '12345678901234567\n']) {
    writeFileSync(join(path, 'imgstore/sweeps'), text);
    expect(isSameSweep(readSweeps(path), readSweeps(path)), JSON.stringify(text)).toBe(false);
  }
  await beginSweep(store);
  await endSweep(store);
  expect(isSameSweep(readSweeps(path), readSweeps(path))).toBe(true);
});

test('a ref does not wait for ever for a sweep that was killed on another machine, and is moved once gc has run here', async () => {
  const made = await newStore();
  await commitBytes(made, 'web', diskOf([1, 2, 3]));
  writeFileSync(join(made.path, 'imgstore/sweeps'), '7\n4242 elsewhere another-boot.4026531836 12345\n');
  const store = await Store.open(made.path, { lockTimeout: 0 });
  onTestFinished(() => store.close());
  await expect(createTag(store, 'v1', 'web')).rejects.toMatchObject({
    code: 'BUSY',
    message: expect.stringContaining('4242 on elsewhere'),
  });
  expect(await git(made.path, 'tag', '-l')).toBe('');
  await collectGarbage(await reopen(made.path));
  await createTag(store, 'v1', 'web');
  expect(await git(made.path, 'tag', '-l')).toBe('v1');
});
