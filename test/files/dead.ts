import { spawnSync } from 'node:child_process';
import { encodeOwner, type Owner, randomOwnerSuffix, thisProcess } from '../../files/index.ts';

/** The number of a process that has ended. */
export function gonePid(): number {
  return spawnSync('true').pid;
}

/** A process of this machine that has ended. */
export function deadOwner(): Owner {
  return { ...thisProcess(), pid: gonePid() };
}

/** What a lock of a process says that was killed. */
export function deadLock(): string {
  return encodeOwner(deadOwner());
}

/** What the temporary name of a file ends with whose maker was killed. */
export function deadSuffix(): string {
  return randomOwnerSuffix().replace(`-${process.pid}-`, `-${gonePid()}-`);
}
