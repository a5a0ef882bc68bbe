import { ImgstoreError, isImgstoreError, systemCode } from '../../errors/index.ts';

/** A failure of code `QMP`: the monitor or the guest agent, or the way to it. @param label names it in messages */
export function qmpFailure(
  label: string,
  why: string,
  data: Readonly<Record<string, unknown>> = {},
  cause?: unknown,
): ImgstoreError {
  return new ImgstoreError('QMP', `${label}: ${why}`, { monitor: label, ...data }, cause);
}

const SYSTEM_REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'no such socket: does the machine run, with -qmp unix:PATH,server=on,wait=off?',
  ECONNREFUSED: 'nobody listens there: does the machine run?',
  EACCES: 'permission denied',
  ECONNRESET: 'the connection was broken off',
  EPIPE: 'the connection was broken off',
  ENOTFOUND: 'no such host',
  ENOTSOCK: 'is no socket',
};

/** Turns what went wrong on a connection into one failure with a clear message; one that is clear already stays as it is. */
export function asQmpFailure(error: unknown, label: string): ImgstoreError {
  if (isImgstoreError(error)) return error;
  const code = systemCode(error);
  const reason =
    (code === undefined ? undefined : SYSTEM_REASONS[code]) ?? (error as Error)?.message ?? String(error);
  return qmpFailure(label, reason, {}, error);
}

const MOST_ERROR_TEXT = 500;

/** What the other side says of an error, as a part of one line. */
export function errorText(text: unknown): string {
  if (typeof text !== 'string' || text === '') return 'it does not say why';
  return text
    .slice(0, MOST_ERROR_TEXT)
    .replaceAll(/[\s\p{Cc}]+/gu, ' ')
    .trim();
}
