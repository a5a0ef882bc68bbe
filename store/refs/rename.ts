import { ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import { NULL_ID, type ObjectId, type Person } from '../../objects/index.ts';
import { shortRefName } from './name.ts';
import type { RefEnd } from './ref-files.ts';
import type { ReflogEntry } from './reflog.ts';
import { excludeEachOther, type Refs, type RefUpdate } from './refs.ts';

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
  if (excludeEachOther(from, to)) await renameBetween(refs, rename, history);
  else await renameBeside(refs, rename, history);
}

/** Both names are there for a moment. */
async function renameBeside(refs: Refs, rename: RefRename, history: readonly ReflogEntry[]): Promise<void> {
  const { from, to } = rename;
  const [replaced, log] = [await refs.follow(to), await refs.logs.read(to)];
  await make(refs, rename, to, history);
  try {
    await remove(refs, rename, from);
  } catch (error) {
    await takeBack(refs, rename, replaced, log);
    throw error;
  }
}

/** The names exclude each other. */
async function renameBetween(refs: Refs, rename: RefRename, history: readonly ReflogEntry[]): Promise<void> {
  const { from, to } = rename;
  await refs.refuseConflict(to, from);
  const between = await freeName(refs, from.length < to.length ? from : to);
  try {
    await make(refs, rename, between, history);
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

/**
 * After a failure: what had the new name before, if the old one is still there. Where that fails too, or what was there could not be read, both
 * names stay.
 */
async function takeBack(
  refs: Refs,
  rename: RefRename,
  replaced: RefEnd,
  log: readonly ReflogEntry[],
): Promise<void> {
  const { from, to, id } = rename;
  try {
    if ((await refs.follow(from)).id === undefined || replaced.fault !== undefined) return;
    if (replaced.symbolic.length > 0) return;
    if (replaced.id === undefined) await remove(refs, rename, to);
    else await restore(refs, rename, { name: to, before: id, after: replaced.id }, log);
  } catch (error) {
    // The first failure is the one to tell.
    if (!isImgstoreError(error)) throw error;
  }
}

/** Moves a ref to where it was, with the log that it had. */
function restore(
  refs: Refs,
  rename: RefRename,
  move: Pick<RefUpdate, 'name' | 'before' | 'after'>,
  log: readonly ReflogEntry[],
): Promise<void> {
  const { person, message } = log.at(-1) ?? rename;
  return refs.update({ ...move, person, message }, { history: log.slice(0, -1) });
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
      await restore(refs, rename, { name: from, before: NULL_ID, after: id }, history);
    }
    if ((await refs.follow(between)).id === id) await remove(refs, rename, between);
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
