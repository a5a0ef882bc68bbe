import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { ObjectId } from '../../../objects/index.ts';
import { createTag } from '../../../store/index.ts';
import { ObjectMarks } from '../../../store/objects/marks.ts';
import { markReachable } from '../../../store/reach/mark-reachable.ts';
import { diskOf } from '../disks.ts';
import { git, gitObjects, gitWith } from '../git.ts';
import { commitBytes, newStore, reopen, type TestStore } from '../new-store.ts';

async function storeOfThree(): Promise<TestStore> {
  const made = await newStore();
  for (let n = 1; n < 4; n++) await commitBytes(made, 'web', diskOf([n, 8, 0, 9, n + 3]));
  await createTag(made.store, 'v1', 'web~1', { message: 'Release' });
  await git(made.path, 'repack', '-q');
  await commitBytes(made, 'ci', diskOf([50, 50]));
  return made;
}

async function marked(path: string, ...revisions: string[]): Promise<ObjectId[]> {
  const { objects } = await reopen(path);
  const marks = new ObjectMarks(objects);
  const roots = await Promise.all(revisions.map((revision) => git(path, 'rev-parse', revision)));
  await markReachable(objects, marks, roots, { requireBlobs: true });
  const all = (await gitObjects(path)).map((line) => line.split(' ')[0]!);
  expect(all.filter((id) => marks.has(id)).length).toBe(marks.count);
  return all.filter((id) => marks.has(id));
}

test('markReachable marks what git rev-list lists, packed and loose', async () => {
  const { path } = await storeOfThree();
  for (const revisions of [['web'], ['web~1'], ['v1'], ['ci', 'web~2'], ['web:disks'], ['web:image.json']]) {
    const listed = await git(path, 'rev-list', '--objects', '--no-object-names', ...revisions);
    expect(await marked(path, ...revisions)).toEqual(listed.split('\n').sort());
  }
});

test('markReachable leaves commits of submodules alone', async () => {
  const { path } = await storeOfThree();
  const input = `160000 commit ${'c'.repeat(64)}\tsub\n100644 blob ${await git(path, 'rev-parse', 'web:image.json')}\tfile\n`;
  const tree = gitWith(path, { input }, 'mktree', '--missing');
  expect((await marked(path, tree)).length).toBe(2);
});

test('markReachable enters trees with names that are not UTF-8', async () => {
  const { path } = await storeOfThree();
  const blob = await git(path, 'rev-parse', 'web:image.json');
  const input = Buffer.concat([Buffer.from('100644 \xff\0', 'latin1'), Buffer.from(blob, 'hex')]);
  const tree = gitWith(path, { input }, 'hash-object', '-t', 'tree', '-w', '--stdin');
  expect(await marked(path, tree)).toEqual([blob, tree].sort());
});

test('markReachable fails with the first object that is lost, or tells of each and goes on', async () => {
  const { path } = await storeOfThree();
  const blob = (await git(path, 'ls-tree', '-r', 'ci', 'disks')).split(/\s/)[2]!;
  rmSync(join(path, 'objects', blob.slice(0, 2), blob.slice(2)));
  const { objects } = await reopen(path);
  const tip = await git(path, 'rev-parse', 'ci');
  await markReachable(objects, new ObjectMarks(objects), [tip]);
  await expect(
    markReachable(objects, new ObjectMarks(objects), [tip], { requireBlobs: true }),
  ).rejects.toMatchObject({ code: 'NOT_FOUND' });
  const tree = await git(path, 'rev-parse', 'ci:disks');
  rmSync(join(path, 'objects', tree.slice(0, 2), tree.slice(2)));
  const lost: ObjectId[] = [];
  const marks = new ObjectMarks(objects);
  await markReachable(objects, marks, [tip], { onLost: (id) => lost.push(id) });
  expect(lost).toEqual([tree]);
  expect(marks.has(await git(path, 'rev-parse', 'ci:image.json'))).toBe(true);
});

test('markReachable stops when the caller wants to stop', async () => {
  const made = await newStore();
  await commitBytes(
    made,
    'web',
    diskOf(Array.from({ length: 90_000 }, (_, i) => (i % 256 === 0 ? i + 1 : 0))),
  );
  const { objects } = await reopen(made.path);
  const tip = await git(made.path, 'rev-parse', 'web');
  await expect(
    markReachable(objects, new ObjectMarks(objects), [tip], { monitor: { signal: AbortSignal.abort() } }),
  ).rejects.toMatchObject({ code: 'INTERRUPTED' });
});
