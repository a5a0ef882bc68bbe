import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fromSystem, ImgstoreError, shellWord, systemCode } from '../../errors/index.ts';
import type { Store } from '../store.ts';
import { refuse } from './roots.ts';

/** git's truth values that say no (git-config(1), "Values"). */
const NO: ReadonlySet<string> = new Set(['false', 'no', 'off', '0', '']);

/**
 * Refuses a store of which not everything that is needed can be known: one whose config forbids to remove objects, as others may take them from there (git:
 * `extensions.preciousObjects`), and one with working trees of git, whose HEADs, indexes and refs of their own lead to objects too.
 * @throws ImgstoreError `UNSUPPORTED`, `IO`
 */
export function refuseUnknownNeeds({ folder, config }: Store): void {
  const precious = config.own.findLast(({ key }) => key === 'extensions.preciousobjects')?.value;
  if (precious !== undefined && !NO.has(precious.toLowerCase())) {
    const path = join(folder, 'config');
    throw new ImgstoreError(
      'UNSUPPORTED',
      `${path}: extensions.preciousObjects is ${precious}, which forbids to remove objects: nothing was removed`,
      { path },
    );
  }
  const path = join(folder, 'worktrees');
  const [worktree] = namesIn(path);
  if (worktree !== undefined)
    throw new ImgstoreError(
      'UNSUPPORTED',
      `${join(path, worktree)}: what git's working trees need is not known to gc, and nothing was removed: end them with git -C ${shellWord(folder)} worktree remove, or worktree prune`,
      { path, worktree },
    );
}

/** Refuses a store with a pack that cannot be looked into: what is in it may lead to anything. @throws ImgstoreError `DAMAGED` */
export function refuseDamagedPacks({ objects: { packs } }: Store): void {
  // Opens all of them, also those that an index of several packs covers.
  packs.packs();
  const [reason] = packs.damaged();
  if (reason === undefined) return;
  throw refuse(new ImgstoreError('DAMAGED', reason, { path: packs.folder }));
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw fromSystem(error, folder);
  }
}
