import { readFileSync } from 'node:fs';
import { fromSystem, systemCode } from '../errors/index.ts';
import { encodeOwner, type Owner, parseOwner, thisProcess } from './owner.ts';

/** Who holds a lock, and for what, as the lock says. */
export interface LockHolder {
  readonly owner: Owner;
  /** `imgstore commit` */
  readonly task: string | undefined;
}

const TEXT_PATTERN = /^([^\n]*\n)(?:([\w .-]{1,80})\n)?$/;

let task: string | undefined;

/** Says what this process does, in every lock that it takes from now on: a few words of letters, digits, dots and hyphens. */
export function nameTask(words: string): void {
  task = words;
}

/** What a lock of this process says: a line about the process and one about its task. */
export function ownLockText(): string {
  return encodeOwner(thisProcess()) + (task === undefined ? '' : `${task}\n`);
}

/** The holder that a lock names. Undefined for one that says nothing or something else: git's, or one of a disk without room for more. */
export function parseLockText(text: string): LockHolder | undefined {
  const [, line, words] = TEXT_PATTERN.exec(text) ?? [];
  const owner = line === undefined ? undefined : parseOwner(line);
  return owner === undefined ? undefined : { owner, task: words };
}

/** What a lock says; undefined when there is none, nothing when it may not be read. @throws ImgstoreError `IO`. */
export function readLockText(lock: string): string | undefined {
  try {
    return readFileSync(lock, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    if (systemCode(error) === 'EACCES') return '';
    throw fromSystem(error, lock);
  }
}
