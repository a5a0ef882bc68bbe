import fc from 'fast-check';
import { expect, test } from 'vitest';
import { EntryTable } from '../../pack/index.ts';
import { anyId } from '../objects/arbitraries.ts';

/** Ids of which many begin with the same bytes. */
const alikeId = fc
  .tuple(fc.constantFrom(0, 1, 5, 6, 7, 31), anyId)
  .map(([same, id]) => 'ab'.repeat(same) + id.slice(2 * same));

test('EntryTable.byId gives the rows in the order of their ids', () => {
  fc.assert(
    fc.property(fc.uniqueArray(alikeId, { maxLength: 60 }), (ids) => {
      const table = new EntryTable();
      for (const [row, id] of ids.entries()) table.add(Buffer.from(id, 'hex'), row, 2 * row);
      const rows = [...table.byId()];
      expect(rows.map((row) => ids[row])).toEqual([...ids].sort());
    }),
  );
});

test('EntryTable keeps every row when it grows', () => {
  const table = new EntryTable();
  const id = (row: number) => Buffer.alloc(32, row % 251).fill(row >>> 8, 31);
  for (let row = 0; row < 5000; row++) table.add(id(row), (row * 2654435761) >>> 0, 2 ** 40 + row);
  expect(table.count).toBe(5000);
  for (let row = 0; row < 5000; row++) {
    expect(table.id(row).equals(id(row))).toBe(true);
    expect(table.crc(row)).toBe((row * 2654435761) >>> 0);
    expect(table.offset(row)).toBe(2 ** 40 + row);
  }
});
