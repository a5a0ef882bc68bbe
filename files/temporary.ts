import { rmSync } from 'node:fs';

/**
 * Files that must not outlive the process: temporary files that were not renamed yet and locks that are held. They
 * are removed when the process exits by itself or by a signal that it handles; after a kill they stay, and are known by their names.
 */
const unfinished = new Set<string>();

/** Puts `path` under watch; call before the file is made. */
export function watchUnfinished(path: string): void {
  if (unfinished.size === 0) process.once('exit', removeUnfinished);
  unfinished.add(path);
}

/** Takes `path` out: it was renamed or removed. */
export function forgetUnfinished(path: string): void {
  unfinished.delete(path);
  if (unfinished.size === 0) process.removeListener('exit', removeUnfinished);
}

/** Removes what is left. Runs in an exit handler, so it is synchronous and goes on past errors. */
export function removeUnfinished(): void {
  for (const path of unfinished) {
    try {
      rmSync(path, { force: true });
    } catch {
      // nothing more can be done while the process ends
    }
  }
  unfinished.clear();
  process.removeListener('exit', removeUnfinished);
}
