/**
 * Every change that a store makes to its files passes a named point just before it happens: `loose.write`,
 * `pack.rename`, `ref.lock`, … A test puts a fault, a pause or a kill there. Outside of tests a point costs one comparison.
 */
export type PointName = `${string}.${FileAction}`;

/** What is about to be done to a file. */
export type FileAction = 'create' | 'write' | 'fsync' | 'link' | 'rename' | 'remove' | 'fsync-folder';

/** Called before an action; what it throws, the action fails with. */
export type PointHook = (point: PointName, path: string) => void;

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
export function passPoint(point: PointName, path: string): void {
  hook?.(point, path);
}
