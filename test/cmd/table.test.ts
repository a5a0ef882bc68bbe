import { expect, test } from 'vitest';
import { formatTable } from '../../cmd/table.ts';

test('formatTable aligns columns, numbers to the right, without spaces at the end of lines', () => {
  const rows = [
    ['web', '12', 'x'],
    ['a-long-name', '3', ''],
  ];
  expect(formatTable(['IMAGE', 'N', 'REST'], rows, [1])).toBe(
    'IMAGE         N  REST\nweb          12  x\na-long-name   3\n',
  );
  expect(formatTable([], [['a', 'b']])).toBe('a  b\n');
});
