import type { BigIntStats } from 'node:fs';

/**
 * What tells one state of one file from another, as git's index does: device, inode, size, and both times in
 * nanoseconds. Equal identities mean equal bytes, unless the last write came in the same tick of the clock as
 * the look (git calls that racily clean; who keeps identities must watch for it).
 */
export interface FileIdentity {
  /** Absolute path with symbolic links resolved. */
  readonly path: string;
  /** `st_dev:st_ino`, decimal. */
  readonly inode: string;
  /** Size in bytes. */
  readonly size: number;
  /** Nanoseconds since 1970, decimal (does not fit a double). */
  readonly mtimeNs: string;
  /** Nanoseconds since 1970, decimal. */
  readonly ctimeNs: string;
}

/** The identity of the file at `path` (resolved) with these stats. */
export function fileIdentity(path: string, stats: BigIntStats): FileIdentity {
  return {
    path,
    inode: `${stats.dev}:${stats.ino}`,
    size: Number(stats.size),
    mtimeNs: String(stats.mtimeNs),
    ctimeNs: String(stats.ctimeNs),
  };
}

/** True when nothing has changed between two looks at a file. */
export function sameIdentity(a: FileIdentity, b: FileIdentity): boolean {
  return (
    a.path === b.path &&
    a.inode === b.inode &&
    a.size === b.size &&
    a.mtimeNs === b.mtimeNs &&
    a.ctimeNs === b.ctimeNs
  );
}
