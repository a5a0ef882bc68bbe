import { expect, test } from 'vitest';
import { ImgstoreError, isImgstoreError } from '../../errors/index.ts';

test('ImgstoreError carries code, message and data', () => {
  const error = new ImgstoreError('BAD_IMAGE', 'a.qcow2: too short', { path: 'a.qcow2' });
  expect(error).toBeInstanceOf(Error);
  expect(error.name).toBe('ImgstoreError');
  expect(error.code).toBe('BAD_IMAGE');
  expect(error.message).toBe('a.qcow2: too short');
  expect(error.data).toEqual({ path: 'a.qcow2' });
  expect(String(error)).toBe('ImgstoreError: a.qcow2: too short');
});

test('ImgstoreError has no cause when none is given', () => {
  expect('cause' in new ImgstoreError('IO', 'x')).toBe(false);
});

test('ImgstoreError keeps the cause when one is given', () => {
  const cause = new Error('below');
  expect(new ImgstoreError('IO', 'x', {}, cause).cause).toBe(cause);
});

test('isImgstoreError is true when the error is one of any code', () => {
  expect(isImgstoreError(new ImgstoreError('BUSY', 'x'))).toBe(true);
});

test('isImgstoreError compares the code when one is given', () => {
  const error = new ImgstoreError('BUSY', 'x');
  expect(isImgstoreError(error, 'BUSY')).toBe(true);
  expect(isImgstoreError(error, 'IO')).toBe(false);
});

test.each([undefined, null, 'BUSY', new Error('x'), { name: 'ImgstoreError', code: 'BUSY' }])(
  'isImgstoreError is false when the value is %o',
  (value) => {
    expect(isImgstoreError(value)).toBe(false);
  },
);
