import fc from 'fast-check';
import { expect, test } from 'vitest';
import { tagNames } from '../../../store/import/tag-names.ts';
import { refNameFault } from '../../../store/refs/name.ts';

test.each([
  ['before-upgrade', 'before-upgrade'],
  ['v1.2_final+x', 'v1.2_final+x'],
  ['größe', 'größe'],
  ['before upgrade', 'before%20upgrade'],
  ['100%', '100%25'],
  ['a/b', 'a%2Fb'],
  ['', '%'],
  ['.hidden', '%2Ehidden'],
  ['a..b', 'a.%2Eb'],
  ['x.lock', 'x%2Elock'],
  ['-d', '%2Dd'],
  ['HEAD', '%48EAD'],
  ['@', '%40'],
  ['two\nlines', 'two%0Alines'],
  ['\u202eover', '%E2%80%AEover'],
])('tagNames makes of %j the tag %s', (name, tag) => {
  expect(tagNames([{ id: '1', name }], '')).toEqual([tag]);
  expect(tagNames([{ id: '1', name }], 'web/')).toEqual([`web/${tag}`]);
});

const name = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.string({
    unit: fc.constantFrom('a', '.', '/', '%', '2', '0', '-', '@', '{', ' ', '.lock'),
    maxLength: 6,
  }),
  fc.constantFrom('HEAD', '@', '', 'a'.repeat(115), 'a'.repeat(116), '\x7f'.repeat(60), 'e'.repeat(40)),
);

test('tagNames makes names that git takes, and no two the same, of any snapshots', () => {
  const snapshots = fc.array(fc.record({ id: fc.oneof(fc.constantFrom('1', '2'), name), name }), {
    maxLength: 8,
  });
  fc.assert(
    fc.property(snapshots, (all) => {
      const tags = tagNames(all, '');
      expect(new Set(tags).size).toBe(all.length);
      expect(tags.filter((tag) => refNameFault(`refs/tags/${tag}`) !== undefined)).toEqual([]);
    }),
  );
});

test('tagNames names a snapshot by itself alone, wherever it stands among others of other names', () => {
  const names = ['b', 'a b', 'a%20b', 'x'.repeat(70_000), ''];
  const apart = names.flatMap((each) => tagNames([{ id: '1', name: each }], ''));
  expect(
    tagNames(
      names.map((each, i) => ({ id: `${i}`, name: each })),
      '',
    ),
  ).toEqual(apart);
  expect(new Set(apart).size).toBe(names.length);
});
