import { join } from 'node:path';
import { ImgstoreError, isImgstoreError, shellWord } from '../../errors/index.ts';
import { namesIn } from '../../files/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import type { ObjectDatabase } from '../objects/database.ts';
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

/** Refuses to take all versions for garbage: a store without refs, and with versions, has lost them most likely. @throws ImgstoreError `DAMAGED` */
export function refuseLostRefs({ folder, objects }: Store, refs: readonly ObjectId[]): void {
  if (refs.length > 0) return;
  if (!hasCommit(objects)) return;
  throw new ImgstoreError(
    'DAMAGED',
    `${folder}: no ref leads to any version, and nothing was removed: bring all refs back with imgstore branch, to each 'dangling commit' that git -C ${shellWord(folder)} fsck lists; if no version is needed, remove the store`,
    { path: folder },
  );
}

function hasCommit(objects: ObjectDatabase): boolean {
  const isCommit = (id: ObjectId) => {
    try {
      return objects.header(id).type === 'commit';
    } catch (error) {
      if (isImgstoreError(error)) return false;
      throw error;
    }
  };
  for (const { idx } of objects.packs.packs())
    for (let position = 0; position < idx.count; position++) if (isCommit(idx.id(position))) return true;
  return [...objects.loose.ids()].some(isCommit);
}
