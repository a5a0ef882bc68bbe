/**
 * The one error class of imgstore.
 *
 * Every failure that a user can cause or meet is an {@link ImgstoreError}: one line that names what failed,
 * where, why and what to do, a stable `code` for programs, and `data` with the facts. Anything else that
 * reaches the top is a defect of imgstore.
 *
 * @module
 */

export { counted } from './counted.ts';

/** Stable codes. Codes may be added, never renamed: scripts read them from `--json`. */
export type ErrorCode =
  /** The command line or an argument of a library call is not valid. */
  | 'USAGE'
  /** No store at the place named, or on the way up from it. */
  | 'NO_STORE'
  /** The store exists but was made by a newer imgstore, or is no imgstore store. */
  | 'BAD_STORE'
  /** Another process holds a lock. */
  | 'BUSY'
  /** A ref is not where it was when the operation began. */
  | 'REF_MOVED'
  /** A revision, object, disk or file does not exist. */
  | 'NOT_FOUND'
  /** An id prefix or a name has more than one meaning. */
  | 'AMBIGUOUS'
  /** The thing to be made is there already. */
  | 'EXISTS'
  /** A name breaks the rules for its kind. */
  | 'BAD_NAME'
  /** An image (qcow2, raw, …) is not valid. */
  | 'BAD_IMAGE'
  /** Valid, but not something imgstore can do. */
  | 'UNSUPPORTED'
  /** An image names a file that the user did not allow. */
  | 'FORBIDDEN'
  /** An image or an object of a remote is encrypted, and the key that was given does not open it. */
  | 'WRONG_KEY'
  /** The image is open for writing elsewhere, or changed while it was read. */
  | 'IN_USE'
  /** Bytes of the store are not what their id or checksum says. */
  | 'DAMAGED'
  /** An NBD server, or the way to it, failed or broke the protocol. */
  | 'NBD'
  /** The monitor of a QEMU, or the agent in its guest, failed, refused or broke the protocol. */
  | 'QMP'
  /** libvirt, or virsh, by which it is asked, failed or refused. */
  | 'LIBVIRT'
  /** The server of a remote was not reached, or kept failing in ways that may pass. */
  | 'REMOTE_UNREACHABLE'
  /** The server of a remote refuses who asks. */
  | 'REMOTE_DENIED'
  /** A remote refused for another reason, or broke the protocol. */
  | 'REMOTE_FAILED'
  /** The system refused: no space, no permission, input or output error. */
  | 'IO'
  /** Stopped by a signal. */
  | 'INTERRUPTED';

/** Facts about the failure, for programs: `path`, `offset`, `field`, `value`, … */
export type ErrorData = Readonly<Record<string, unknown>>;

/** A failure with a stable {@link ErrorCode}. The message is one line in the form `where: why: what to do`. */
export class ImgstoreError extends Error {
  override readonly name = 'ImgstoreError';
  readonly code: ErrorCode;
  readonly data: ErrorData;

  constructor(code: ErrorCode, message: string, data: ErrorData = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.data = data;
  }
}

/** True when `error` is an {@link ImgstoreError}, of the given code if one is given. */
export function isImgstoreError(error: unknown, code?: ErrorCode): error is ImgstoreError {
  return error instanceof ImgstoreError && (code === undefined || error.code === code);
}

/** The `code` of a Node system error (`ENOENT`, …), or undefined for anything else. */
export function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || isImgstoreError(error)) return undefined;
  const code = (error as NodeJS.ErrnoException).code;
  return typeof code === 'string' && /^E[A-Z0-9]+$/.test(code) ? code : undefined;
}

const SYSTEM_REASONS: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EPERM: 'operation not permitted',
  ENOENT: 'no such file or folder',
  ENOTDIR: 'a part of the path is not a folder',
  EISDIR: 'is a folder, not a file',
  EEXIST: 'exists already',
  ENOSPC: 'no space left on the device: free some room and run the command again',
  EDQUOT: 'disk quota exceeded: free some room and run the command again',
  EFBIG: 'file too large for this file system',
  EROFS: 'read-only file system',
  EMFILE: 'too many open files: raise the limit with ulimit -n',
  ENFILE: 'too many open files in the system',
  EIO: 'input/output error of the device',
  ELOOP: 'too many symbolic links',
  ENAMETOOLONG: 'name too long',
  EBUSY: 'device or resource busy',
  ENXIO: 'no such device or address',
};

/**
 * Turns a Node system error into an {@link ImgstoreError} of code `IO` (`NOT_FOUND` for `ENOENT`) whose message
 * is `<path>: <reason>`. Any other error is handed back as it is.
 */
export function fromSystem(error: unknown, path: string): unknown {
  const code = systemCode(error);
  if (code === undefined) return error;
  const reason = SYSTEM_REASONS[code] ?? (error as Error).message;
  return new ImgstoreError(
    code === 'ENOENT' ? 'NOT_FOUND' : 'IO',
    `${path}: ${reason}`,
    { path, system: code },
    error,
  );
}

/** A path or other argument in a command that a message advises: quoted for a shell where that is needed. */
export function shellWord(text: string): string {
  return /^[\w./@%+=:,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
