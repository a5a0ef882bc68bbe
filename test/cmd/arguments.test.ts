import { expect, test } from 'vitest';
import { collect, countArgument, parseNamedFile, sizeArgument } from '../../cmd/arguments.ts';

test.each([
  ['0', 0],
  ['65536', 65536],
  ['64K', 65536],
  ['64k', 65536],
  ['1M', 2 ** 20],
  ['2G', 2 ** 31],
  ['1T', 2 ** 40],
])('sizeArgument(%s) is %d', (text, bytes) => {
  expect(sizeArgument(text)).toBe(bytes);
});

test.each(['', '-1', '1.5M', 'K', '64Q', '9007199254740992', '1e3'])(
  'sizeArgument throws when given %j',
  (text) => {
    expect(() => sizeArgument(text)).toThrow(`'${text}' is not a size`);
  },
);

test('countArgument takes whole numbers only', () => {
  expect(countArgument('0')).toBe(0);
  expect(countArgument('123')).toBe(123);
  for (const text of ['', '-1', '1.5', '0x10', '1234567890'])
    expect(() => countArgument(text)).toThrow('is not a number');
});

test('collect gathers what is given several times', () => {
  expect(collect('b', collect('a', undefined))).toEqual(['a', 'b']);
});

test('parseNamedFile splits at the first equals sign', () => {
  expect(parseNamedFile('--disk', 'vda=a=b.raw')).toEqual({ name: 'vda', path: 'a=b.raw' });
  for (const text of ['vda', '=a.raw', 'vda=', ''])
    expect(() => parseNamedFile('--disk', text)).toThrow(`--disk ${text}: write NAME=FILE`);
});
