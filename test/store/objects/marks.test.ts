import { expect, test } from 'vitest';
import { ObjectMarks } from '../../../store/objects/marks.ts';
import { diskOf } from '../disks.ts';
import { git } from '../git.ts';
import { commitBytes, newStore, reopen } from '../new-store.ts';

test('ObjectMarks holds each object once when objects are loose, in one pack and in several', async () => {
  const made = await newStore();
  await commitBytes(made, 'web', diskOf([1, 2, 0, 3]));
  await git(made.path, 'repack', '-q');
  await commitBytes(made, 'web', diskOf([1, 4, 0, 3]));
  await git(made.path, 'repack', '-aq');
  await commitBytes(made, 'web', diskOf([1, 4, 5, 3]));
  const { objects } = await reopen(made.path);
  const ids = new Set([
    ...objects.loose.ids(),
    ...objects.packs
      .packs()
      .flatMap(({ idx }) => Array.from({ length: idx.count }, (_, position) => idx.id(position))),
  ]);
  expect(objects.packs.packs().length).toBe(2);
  const marks = new ObjectMarks(objects);
  const [first, ...others] = [...ids, 'f'.repeat(64)];
  for (const id of others) expect(marks.mark(id)).toBe(true);
  for (const id of others) expect(marks.mark(id)).toBe(false);
  expect(marks.count).toBe(others.length);
  expect(others.every((id) => marks.has(id))).toBe(true);
  expect(marks.has(first!)).toBe(false);
});
