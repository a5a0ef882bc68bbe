import { ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import { NULL_ID, type ObjectId, type Person } from '../../objects/index.ts';
import { shortRefName } from './name.ts';
import type { ReflogEntry } from './reflog.ts';
import { excludeEachOther, type Refs } from './refs.ts';

/** A new name for a ref. Names are full: `refs/heads/web`. */
export interface RefRename {
  readonly from: string;
  readonly to: string;
  /** Where `from` is. */
  readonly id: ObjectId;
  /** For the reflog. */
  readonly person: Person;
  readonly message: string;
  /** Replaces a ref that has the new name, and its log. */
  readonly force?: boolean | undefined;
}

/**
 * Gives a ref another name, its log with it. At every moment some ref leads to the version: the new one is made before the old one goes, and where
 * both cannot be (`a` and `a/b`), a third one, `a-renamed`, stands in.
 * @throws ImgstoreError as {@link Refs.update}
 */
export async function renameRef(refs: Refs, rename: RefRename): Promise<void> {
  const { from, to } = rename;
  const history = await refs.logs.read(from);
  if (!excludeEachOther(from, to)) {
    await make(refs, rename, to, history);
    await remove(refs, rename, from);
    return;
  }
  await refs.refuseConflict(to, from);
  const between = await freeName(refs, from.length < to.length ? from : to);
  await make(refs, rename, between, history);
  try {
    await remove(refs, rename, from);
    await make(refs, rename, to, history);
  } catch (error) {
    await putBack(refs, rename, between, history, error);
    throw error;
  }
  await remove(refs, rename, between);
}

function make(
  refs: Refs,
  { id, person, message, force }: RefRename,
  name: string,
  history: readonly ReflogEntry[],
): Promise<void> {
  const before = force ? undefined : NULL_ID;
  return refs.update({ name, before, after: id, person, message }, { history, replaceSymbolic: true });
}

function remove(refs: Refs, { id, person, message }: RefRename, name: string): Promise<void> {
  return refs.update({ name, before: id, after: NULL_ID, person, message });
}

/** A name beside one of the two that exclude each other, which excludes nothing. */
async function freeName(refs: Refs, shorter: string): Promise<string> {
  for (let i = 1; ; i++) {
    const name = `${shorter}-renamed${i === 1 ? '' : `-${i}`}`;
    const { id, fault } = await refs.follow(name);
    if (id === undefined && fault === undefined && (await refs.findConflict(name)) === undefined) return name;
  }
}

/** After a failure: the old name again, if it has gone and the new one is not there. When that fails too the stand-in stays, and the error says so. */
async function putBack(
  refs: Refs,
  rename: RefRename,
  between: string,
  history: readonly ReflogEntry[],
  cause: unknown,
): Promise<void> {
  const { from, to, id } = rename;
  try {
    const [old, next] = [await refs.follow(from), await refs.follow(to)];
    if (old.id === undefined && old.fault === undefined && next.id !== id) {
      const { person, message } = history.at(-1) ?? rename;
      const before = { name: from, before: NULL_ID, after: id, person, message };
      await refs.update(before, { history: history.slice(0, -1) });
    }
    await remove(refs, rename, between);
  } catch (error) {
    if (!isImgstoreError(error) || !isImgstoreError(cause)) throw error;
    throw new ImgstoreError(
      cause.code,
      `${cause.message}: the branch is named '${shortRefName(between)}' now: run 'imgstore branch -m ${shortRefName(between)} ${shortRefName(to)}'`,
      { ...cause.data, between },
      cause,
    );
  }
}
