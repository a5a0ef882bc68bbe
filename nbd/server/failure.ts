import { isImgstoreError, systemCode } from '../../errors/index.ts';
import type { RequestFailure } from '../protocol/chunk.ts';
import { ErrorValue } from '../protocol/error-values.ts';
import { NotFast } from './export.ts';

/** "Error values": EDQUOT and EFBIG should be told as ENOSPC. */
const SYSTEM_VALUES: Readonly<Record<string, number>> = {
  ENOSPC: ErrorValue.noSpace,
  EDQUOT: ErrorValue.noSpace,
  EFBIG: ErrorValue.noSpace,
  EPERM: ErrorValue.notPermitted,
  EACCES: ErrorValue.notPermitted,
  EROFS: ErrorValue.notPermitted,
};

/** What a client hears when an export has thrown. An error that is not meant for users keeps its text to itself. */
export function failureOf(error: unknown): RequestFailure {
  if (error instanceof NotFast) return { error: ErrorValue.notSupported, message: error.message };
  if (isImgstoreError(error))
    return { error: errorValueOf(error.code, error.data.system), message: error.message };
  return { error: errorValueOf('', systemCode(error)), message: '' };
}

function errorValueOf(code: string, system: unknown): number {
  if (code === 'FORBIDDEN') return ErrorValue.notPermitted;
  if (code === 'USAGE') return ErrorValue.invalid;
  return (typeof system === 'string' ? SYSTEM_VALUES[system] : undefined) ?? ErrorValue.io;
}
