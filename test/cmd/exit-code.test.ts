import { CommanderError } from 'commander';
import { expect, test } from 'vitest';
import { exitCodeOf } from '../../cmd/exit-code.ts';
import { type ErrorCode, ImgstoreError } from '../../errors/index.ts';

test.each([
  ['USAGE', 2],
  ['NO_STORE', 5],
  ['BUSY', 4],
  ['REF_MOVED', 4],
  ['INTERRUPTED', 130],
  ['BAD_STORE', 1],
  ['NOT_FOUND', 1],
  ['DAMAGED', 1],
  ['IO', 1],
] as const satisfies readonly (readonly [ErrorCode, number])[])('exitCodeOf %s is %d', (code, status) => {
  expect(exitCodeOf(new ImgstoreError(code, ''), false)).toBe(status);
  // For verbs that compare, 1 says "different".
  expect(exitCodeOf(new ImgstoreError(code, ''), true)).toBe(status === 1 ? 2 : status);
});

test('exitCodeOf is 2 when the parser refuses the command line, and 1 for a defect', () => {
  expect(exitCodeOf(new CommanderError(1, 'commander.unknownOption', ''), false)).toBe(2);
  expect(exitCodeOf(new TypeError('x'), false)).toBe(1);
  expect(exitCodeOf(new TypeError('x'), true)).toBe(2);
});
