import { expect, test } from 'vitest';
import { counted } from '../../errors/index.ts';

test.each([
  [0, '0 packs'],
  [1, '1 pack'],
  [2, '2 packs'],
  [1000, '1000 packs'],
])('counted(%d) is %s', (count, text) => {
  expect(counted(count, 'pack')).toBe(text);
});

test('counted takes the word for several when it is not the other with an s', () => {
  expect([0, 1, 2].map((count) => counted(count, 'branch', 'branches'))).toEqual([
    '0 branches',
    '1 branch',
    '2 branches',
  ]);
});
