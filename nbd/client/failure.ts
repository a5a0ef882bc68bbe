import { ImgstoreError, isImgstoreError, systemCode } from '../../errors/index.ts';
import { ProtocolFault } from '../protocol/fault.ts';
import { StreamEnded } from '../transport/byte-reader.ts';

/** A failure of code `NBD`: the server, or the way to it. @param label names the server or the export in messages */
export function nbdFailure(label: string, why: string, cause?: unknown): ImgstoreError {
  return new ImgstoreError('NBD', `${label}: ${why}`, { uri: label }, cause);
}

const SYSTEM_REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'no such socket: is the server running?',
  ECONNREFUSED: 'nobody listens there: is the server running?',
  EACCES: 'permission denied',
  ECONNRESET: 'the server broke the connection off',
  EPIPE: 'the server broke the connection off',
  ENOTFOUND: 'no such host',
  ETIMEDOUT: 'the host does not answer',
  EHOSTUNREACH: 'the host cannot be reached',
};

/**
 * Turns what went wrong on a connection into one failure with a clear message; one that is clear already stays as it is.
 * @param when what was being done: "during negotiation"
 */
export function asNbdFailure(error: unknown, label: string, when: string): ImgstoreError {
  if (isImgstoreError(error)) return error;
  if (error instanceof ProtocolFault)
    return nbdFailure(label, `the server broke the NBD protocol: ${error.message}`, error);
  if (error instanceof StreamEnded)
    return nbdFailure(label, `the server closed the connection ${when}`, error);
  const code = systemCode(error);
  const reason =
    (code === undefined ? undefined : SYSTEM_REASONS[code]) ?? (error as Error)?.message ?? String(error);
  return nbdFailure(label, reason, error);
}
