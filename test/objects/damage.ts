import { expect } from 'vitest';
import { ImgstoreError } from '../../errors/index.ts';

/** Expects a failure of code `DAMAGED` with a message of one line, and returns it. */
export function damage(run: () => unknown): ImgstoreError {
  const error = failure(run);
  expect(error).toBeInstanceOf(ImgstoreError);
  const { code, message } = error as ImgstoreError;
  expect(code, message).toBe('DAMAGED');
  expect(message).not.toBe('');
  return error as ImgstoreError;
}

/** What `run` throws; undefined when it does not. */
export function failure(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  return undefined;
}
