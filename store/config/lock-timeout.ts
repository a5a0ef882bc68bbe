import { ImgstoreError } from '../../errors/index.ts';
import type { Config } from './config.ts';

const KEY = 'imgstore.lockTimeout';

/** Seconds, `-1` or `forever`: Infinity for the last two, undefined for anything else. */
export function parseLockTimeout(text: string): number | undefined {
  if (text === '-1' || text === 'forever') return Number.POSITIVE_INFINITY;
  return /^\d{1,9}(\.\d{1,3})?$/.test(text) ? Number(text) : undefined;
}

/** `imgstore.lockTimeout` in seconds. @throws ImgstoreError `BAD_STORE`. */
export function lockTimeoutOf(config: Config): number | undefined {
  const value = config.get(KEY);
  if (value === undefined) return undefined;
  const seconds = parseLockTimeout(value.trim());
  if (seconds === undefined)
    throw new ImgstoreError('BAD_STORE', `config ${KEY} = ${value}: must be seconds, -1 or forever`, {
      key: KEY,
      value,
    });
  return seconds;
}
