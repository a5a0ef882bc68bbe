/**
 * Every change that a store makes to its files passes a named point just before it happens: `loose.write`,
 * `pack.rename`, `ref.lock`, … A test puts a fault, a pause or a kill there. Outside of tests a point costs one comparison.
 */
export type PointName = `${string}.${FileAction}`;

/** What is about to be done to a file or folder. */
export type FileAction = 'create' | 'write' | 'fsync' | 'link' | 'rename' | 'remove' | 'fsync-folder';

/** What is about to be written, so that a test can write a part of it. */
export interface PointWrite {
  readonly bytes: Uint8Array;
  /** Where in the file; undefined for its end. */
  readonly offset: number | undefined;
}

/**
 * Called before an action; what it throws, the action fails with. The path is that of the file that changes; of a `link` or `rename` the new one.
 */
export type PointHook = (point: PointName, path: string, write?: PointWrite) => void;

let hook: PointHook | undefined;

/** Installs a hook for the whole process and returns what takes it out again. */
export function watchPoints(next: PointHook): () => void {
  const before = hook;
  hook = next;
  return () => {
    hook = before;
  };
}

/** Announces an action. */
export function passPoint(point: PointName, path: string, write?: PointWrite): void {
  hook?.(point, path, write);
}
