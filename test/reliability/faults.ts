import { closeSync, openSync, writeSync } from 'node:fs';
import { type PointHook, type PointWrite, watchPoints } from '../../files/index.ts';

/** A way in which a call of the system fails. */
export interface FaultKind {
  readonly name: string;
  /** Whether it can happen where something is (not) written. */
  readonly fits: (write: PointWrite | undefined) => boolean;
  readonly strike: PointHook;
}

/** What a failing call throws. */
function failure(code: string, reason: string): Error {
  return Object.assign(new Error(`${code}: ${reason}`), { code, syscall: 'fault' });
}

function failing(code: string, reason: string): FaultKind {
  const strike = () => {
    throw failure(code, reason);
  };
  return { name: code, fits: () => true, strike };
}

/** The disk becomes full in the middle of a write. */
const SHORT_WRITE: FaultKind = {
  name: 'short write',
  fits: (write) => write !== undefined && write.bytes.length > 1,
  strike: (_, path, write) => {
    const { bytes, offset } = write!;
    const fd = openSync(path, offset === undefined ? 'a' : 'r+');
    try {
      writeSync(fd, bytes, 0, bytes.length >> 1, offset ?? null);
    } finally {
      closeSync(fd);
    }
    throw failure('ENOSPC', 'no space left on device');
  },
};

const THROWN: readonly FaultKind[] = [
  failing('EIO', 'i/o error'),
  failing('ENOSPC', 'no space left on device'),
  failing('EMFILE', 'too many open files'),
];

/**
 * What a disk or a system that goes on running can do to a verb: the kind of fault for the n-th point, one function for each sweep over all points.
 * @param long every kind at every point; else those that are thrown take turns
 */
export function faultRuns(long: boolean): readonly ((n: number) => FaultKind)[] {
  if (long) return [...THROWN, SHORT_WRITE].map((kind) => () => kind);
  return [(n) => THROWN[n % THROWN.length]!, () => SHORT_WRITE];
}

/** Runs `work` with a fault at the n-th point that the kind fits, from 0. Returns its name, undefined when there were not so many. */
export async function withFaultAt(
  n: number,
  kind: FaultKind,
  work: () => Promise<void>,
): Promise<string | undefined> {
  let left = n;
  let struck: string | undefined;
  const stop = watchPoints((point, path, write) => {
    if (!kind.fits(write) || left-- !== 0) return;
    struck = point;
    kind.strike(point, path, write);
  });
  try {
    await work();
  } finally {
    stop();
  }
  return struck;
}
