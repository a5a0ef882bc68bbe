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

test('ObjectMarks.mark takes the place that other marks have found when packs have come between the two, and when none have', async () => {
  const made = await newStore();
  await commitBytes(made, 'web', diskOf([1, 2, 0, 3]));
  await git(made.path, 'repack', '-q');
  const before = await reopen(made.path);
  const few = new ObjectMarks(before.objects);
  await commitBytes(
    { ...made, store: await reopen(made.path) },
    'web',
    diskOf([4, 5, 6, 7, 8, 9, 10, 11, 12, 13]),
  );
  await git(made.path, 'repack', '-q');
  const after = await reopen(made.path);
  const [many, others] = [new ObjectMarks(after.objects), new ObjectMarks(after.objects)];
  const ids = after.objects.packs
    .packs()
    .flatMap(({ idx }) => Array.from({ length: idx.count }, (_, position) => idx.id(position)));
  for (const id of ids) {
    for (const marks of [few, others]) expect(marks.mark(id, many.place(id))).toBe(true);
    for (const marks of [few, others]) expect(marks.mark(id, many.place(id))).toBe(false);
    expect(few.has(id)).toBe(true);
  }
  expect(few.count).toBe(ids.length);
});
