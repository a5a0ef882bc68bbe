import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { fromSystem, ImgstoreError, isImgstoreError, systemCode } from '../../errors/index.ts';

function systemError(code: string, message = `${code}: something, open 'x'`): NodeJS.ErrnoException {
  return Object.assign(new Error(message), { code });
}

/** The error that `action` throws. */
function thrownBy(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

test('systemCode gives the code when Node reports a failed system call', () => {
  expect(systemCode(thrownBy(() => readFileSync('/dev/null/x')))).toBe('ENOTDIR');
  expect(systemCode(thrownBy(() => readFileSync('/')))).toBe('EISDIR');
});

test.each([
  ['an error of ours', new ImgstoreError('EXISTS', 'x')],
  ['an error of Node itself', thrownBy(() => Buffer.alloc(-1))],
  ['an error without a code', new Error('x')],
  ['an error whose code is a number', Object.assign(new Error('x'), { code: 5 })],
  ['an object that only looks like one', { code: 'ENOENT' }],
  ['nothing', undefined],
])('systemCode is undefined when it is given %s', (_, value) => {
  expect(systemCode(value)).toBeUndefined();
});

test('fromSystem gives NOT_FOUND when the file does not exist', () => {
  const cause = systemError('ENOENT');
  const error = fromSystem(cause, 'disk.raw');
  expect(error).toMatchObject({
    code: 'NOT_FOUND',
    message: 'disk.raw: no such file or folder',
    data: { path: 'disk.raw', system: 'ENOENT' },
  });
  expect((error as ImgstoreError).cause).toBe(cause);
});

test('fromSystem says what to do when the disk is full', () => {
  expect(fromSystem(systemError('ENOSPC'), 'disk.raw')).toMatchObject({
    code: 'IO',
    message: 'disk.raw: no space left on the device: free some room and run the command again',
  });
});

test.each([
  'EACCES',
  'EPERM',
  'ENOTDIR',
  'EISDIR',
  'EEXIST',
  'EDQUOT',
  'EFBIG',
  'EROFS',
  'EMFILE',
  'ENFILE',
  'EIO',
  'ELOOP',
  'ENAMETOOLONG',
  'EBUSY',
  'ENXIO',
])('fromSystem gives IO with a reason in words when the system says %s', (code) => {
  const error = fromSystem(systemError(code), 'disk.raw');
  expect(isImgstoreError(error, 'IO')).toBe(true);
  expect((error as Error).message).toMatch(/^disk\.raw: [^\n]+$/);
  expect((error as Error).message).not.toContain(code);
});

test("fromSystem keeps the system's own words when it does not know the code", () => {
  const error = fromSystem(systemError('EWEIRD', 'EWEIRD: out of the ordinary'), 'disk.raw');
  expect(error).toMatchObject({ code: 'IO', message: 'disk.raw: EWEIRD: out of the ordinary' });
});

test('fromSystem hands back what it is given when that is no system error', () => {
  const ours = new ImgstoreError('EXISTS', 'x');
  const defect = new TypeError('x is not a function');
  expect(fromSystem(ours, 'disk.raw')).toBe(ours);
  expect(fromSystem(defect, 'disk.raw')).toBe(defect);
  expect(fromSystem('text', 'disk.raw')).toBe('text');
});
