import { setImmediate } from 'node:timers/promises';
import { isImgstoreError } from '../../errors/index.ts';
import { type GitObject, isFolder, type ObjectId, parseCommit, parseTag } from '../../objects/index.ts';
import type { ContentKind } from '../objects/new-objects.ts';
import { type Monitor, throwIfStopped } from '../progress.ts';
import { treeLinks } from '../reach/tree-links.ts';
import { DISKS_FOLDER } from '../version/version.ts';

/** Trees that are read between two chances for others to run. */
const STRIDE = 256;

export interface ContentWalk {
  /** Reads a commit, a tag or a tree, which may come from elsewhere; blobs are never read. @throws ImgstoreError `NOT_FOUND`, `DAMAGED`. */
  readonly read: (id: ObjectId) => GitObject | Promise<GitObject>;
  /** Whether a commit, with all that it leads to, is nothing new: the walk does not enter it. */
  readonly isKnown: (commit: ObjectId) => boolean;
  /** Told of each object; says whether it is told of this one for the first time. */
  readonly meet: (id: ObjectId, kind: ContentKind) => boolean;
  readonly monitor?: Monitor | undefined;
}

/**
 * Meets every object that some lead to, but for what known commits have. Of a commit whose parent can be read only what differs from the parent is entered, so the cost is that of what is
 * new. Parents come first: then all of a tree that was met before has been met as well, also where a version goes back to what an earlier one was.
 * @throws ImgstoreError `NOT_FOUND`, `DAMAGED`, `INTERRUPTED`
 */
export async function walkContent(roots: Iterable<ObjectId>, walk: ContentWalk): Promise<void> {
  let read = 0;
  const { commits, others } = await commitsOf(roots, walk);
  for (const id of commits) {
    const { tree, parents } = parseCommit((await walk.read(id)).data);
    walk.meet(id, 'maps');
    const before = await treeOfFirst(parents, walk);
    if (tree !== before && walk.meet(tree, 'maps'))
      await enterTree((await walk.read(tree)).data, before, 'maps', true);
  }
  for (const { id, type, data } of others) {
    const isNew = walk.meet(id, 'maps');
    if (isNew && type === 'tree') await enterTree(data, undefined, 'maps', true);
  }

  /** @param before the tree at the same place in the version before */
  async function enterTree(
    data: Uint8Array,
    before: ObjectId | undefined,
    kind: ContentKind,
    isRoot: boolean,
  ): Promise<void> {
    if (++read % STRIDE === 0) {
      await setImmediate();
      throwIfStopped(walk.monitor ?? {});
    }
    const links = before === undefined ? [] : await linksOf(before);
    const old = new Map(links.map(({ name, id }) => [name, id]));
    for (const entry of treeLinks(data)) {
      const same = old.get(entry.name);
      if (same === entry.id) continue;
      if (!isFolder(entry)) walk.meet(entry.id, kind);
      else if (walk.meet(entry.id, 'maps')) {
        const below = isRoot && entry.name === DISKS_FOLDER ? 'data' : kind;
        await enterTree((await walk.read(entry.id)).data, same, below, false);
      }
    }
  }

  async function linksOf(id: ObjectId) {
    const object = await readIfThere(id, walk);
    return object?.type === 'tree' ? treeLinks(object.data) : [];
  }
}

/** The commits that some objects lead to, but for known ones: each after its parents. And what tags are, and lead to, that is none. */
async function commitsOf(roots: Iterable<ObjectId>, walk: ContentWalk) {
  const commits: ObjectId[] = [];
  const others: (GitObject & { readonly id: ObjectId })[] = [];
  const seen = new Set<ObjectId>();
  const open: { readonly id: ObjectId; readonly isLeft: boolean }[] = [];
  const push = (ids: Iterable<ObjectId>) => {
    for (const id of ids) open.push({ id, isLeft: false });
  };
  push(roots);
  for (let step = open.pop(); step !== undefined; step = open.pop()) {
    const { id, isLeft } = step;
    if (isLeft) commits.push(id);
    if (isLeft || seen.has(id) || walk.isKnown(id)) continue;
    seen.add(id);
    if (seen.size % STRIDE === 0) {
      await setImmediate();
      throwIfStopped(walk.monitor ?? {});
    }
    const object = await walk.read(id);
    if (object.type === 'commit') {
      open.push({ id, isLeft: true });
      push(parseCommit(object.data).parents);
    } else {
      others.push({ id, ...object });
      if (object.type === 'tag') push([parseTag(object.data).object]);
    }
  }
  return { commits, others };
}

async function treeOfFirst([first]: readonly ObjectId[], walk: ContentWalk): Promise<ObjectId | undefined> {
  const object = first === undefined ? undefined : await readIfThere(first, walk);
  return object?.type === 'commit' ? parseCommit(object.data).tree : undefined;
}

/** What is only compared with may be missing: then nothing is left out. */
async function readIfThere(id: ObjectId, walk: ContentWalk): Promise<GitObject | undefined> {
  try {
    return await walk.read(id);
  } catch (error) {
    if (isImgstoreError(error, 'NOT_FOUND')) return undefined;
    throw error;
  }
}
