import { setImmediate } from 'node:timers/promises';
import { type ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import { isFolder, type ObjectId, parseCommit, parseTag } from '../../objects/index.ts';
import type { ObjectDatabase } from '../objects/database.ts';
import type { ObjectMarks } from '../objects/marks.ts';
import { type Monitor, throwIfStopped } from '../progress.ts';
import { treeLinks } from './tree-links.ts';

/** Objects that are read between two looks at whether the caller wants to stop. */
const STRIDE = 256;

export interface ReachOptions {
  /** Told of every object that cannot be read, whose own references so stay unknown; without it the walk fails with the first. */
  readonly onLost?: ((id: ObjectId, fault: ImgstoreError) => void) | undefined;
  /** Also looks whether every blob is there. Blobs are never read. */
  readonly requireBlobs?: boolean;
  readonly monitor?: Monitor;
}

/**
 * Marks every object that some lead to. Those that are marked already are not entered again, so the cost of several walks is that of what differs.
 * @throws ImgstoreError `NOT_FOUND`, `DAMAGED`, `INTERRUPTED`
 */
export async function markReachable(
  database: ObjectDatabase,
  marks: ObjectMarks,
  roots: Iterable<ObjectId>,
  options: ReachOptions = {},
): Promise<void> {
  const open = [...roots].filter((id) => marks.mark(id));
  let read = 0;
  for (let id = open.pop(); id !== undefined; id = open.pop()) {
    if (++read % STRIDE === 0) {
      await setImmediate();
      throwIfStopped(options.monitor ?? {});
    }
    for (const below of attempt(id, options, () => enter(database, marks, id!, options)) ?? [])
      open.push(below);
  }
}

/** Marks what an object names, and returns what of that may name others in turn. */
function enter(
  database: ObjectDatabase,
  marks: ObjectMarks,
  id: ObjectId,
  options: ReachOptions,
): readonly ObjectId[] {
  if (database.header(id).type === 'blob') return [];
  const { type, data } = database.read(id);
  if (type === 'commit') {
    const { tree, parents } = parseCommit(data);
    return [tree, ...parents].filter((each) => marks.mark(each));
  }
  if (type === 'tag') return [parseTag(data).object].filter((each) => marks.mark(each));
  const entries = treeLinks(data).filter(({ id: each }) => marks.mark(each));
  for (const blob of entries)
    if (options.requireBlobs && !isFolder(blob))
      attempt(blob.id, options, () => requireBlob(database, blob.id));
  return entries.filter(isFolder).map((each) => each.id);
}

/** One that is elsewhere and promised is as good as one that is here. */
function requireBlob(database: ObjectDatabase, id: ObjectId): void {
  if (database.isStored(id) || !database.isPromised(id)) database.header(id);
}

function attempt<T>(id: ObjectId, { onLost }: ReachOptions, work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (onLost === undefined || !isImgstoreError(error)) throw error;
    onLost(id, error);
    return undefined;
  }
}
