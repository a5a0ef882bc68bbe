import { expect, test } from 'vitest';
import { ReadAhead } from '../../../store/serve/read-ahead.ts';

const WINDOW = 1000;

test('ReadAhead says what comes next when reads follow each other, half a window at a time', () => {
  const ahead = new ReadAhead(10_000, WINDOW);
  expect([ahead.note(0, 100), ahead.note(100, 100)]).toEqual([undefined, undefined]);
  expect(ahead.note(200, 100)).toEqual({ offset: 300, length: WINDOW });
  for (let at = 300; at < 700; at += 100) expect(ahead.note(at, 100)).toBeUndefined();
  expect(ahead.note(700, 100)).toEqual({ offset: 1300, length: 500 });
});

test('ReadAhead knows several streams from each other', () => {
  const ahead = new ReadAhead(100_000, WINDOW);
  for (const at of [0, 100]) {
    ahead.note(at, 100);
    ahead.note(50_000 + at, 100);
  }
  expect(ahead.note(200, 100)).toEqual({ offset: 300, length: WINDOW });
  expect(ahead.note(50_200, 100)).toEqual({ offset: 50_300, length: WINDOW });
});

test('ReadAhead says nothing of reads here and there', () => {
  const ahead = new ReadAhead(100_000, WINDOW);
  for (let i = 0; i < 1000; i++) expect(ahead.note((i * 7919) % 99_000, 10)).toBeUndefined();
});

test('ReadAhead ends at the end of the disk', () => {
  const ahead = new ReadAhead(1000, WINDOW);
  ahead.note(0, 100);
  ahead.note(100, 100);
  expect(ahead.note(200, 100)).toEqual({ offset: 300, length: 700 });
  for (let at = 300; at < 1000; at += 100) expect(ahead.note(at, 100)).toBeUndefined();
});
