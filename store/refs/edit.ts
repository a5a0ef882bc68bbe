import { ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import { encodeTag, NULL_ID, type ObjectId } from '../../objects/index.ts';
import { currentPerson } from '../person.ts';
import type { Monitor } from '../progress.ts';
import { resolveCommit } from '../revision/resolve.ts';
import type { Store } from '../store.ts';
import { BRANCHES, fullRefName, TAGS } from './name.ts';

type Kind = typeof BRANCHES | typeof TAGS;

export interface TagOptions {
  /** Makes an annotated tag, an object of its own with a date and a name. */
  readonly message?: string | undefined;
  /** Moves a tag that is there. */
  readonly force?: boolean | undefined;
}

/** Makes a tag for a version. Returns the id that the tag's ref has. @throws ImgstoreError `EXISTS`, `BAD_NAME`, `NOT_FOUND`. */
export async function createTag(
  store: Store,
  name: string,
  revision: string,
  options: TagOptions = {},
): Promise<ObjectId> {
  const ref = fullRefName(TAGS, name);
  const before = await refuseTaken(store, ref, 'tag', name, options.force ?? false);
  const object = await resolveCommit(store, revision);
  const after = options.message === undefined ? object : await storeTag(store, name, object, options.message);
  const person = currentPerson('committer', store.config);
  await store.refs.update({ name: ref, before, after, person, message: `tag: ${revision}` });
  return after;
}

async function storeTag(store: Store, name: string, object: ObjectId, message: string): Promise<ObjectId> {
  const transaction = store.begin();
  try {
    const tagger = currentPerson('committer', store.config);
    const data = encodeTag({
      object,
      type: 'commit',
      name,
      tagger,
      message: `${message.trimEnd()}\n`,
      extra: [],
    });
    const id = await transaction.put('tag', data);
    await transaction.publish();
    return id;
  } finally {
    await transaction.discard();
  }
}

/** Makes a branch that starts at a version. @throws ImgstoreError `EXISTS`, `BAD_NAME`, `NOT_FOUND`. */
export async function createBranch(
  store: Store,
  name: string,
  revision: string,
  force = false,
): Promise<ObjectId> {
  const ref = fullRefName(BRANCHES, name);
  const before = await refuseTaken(store, ref, 'branch', name, force);
  const after = await resolveCommit(store, revision);
  const person = currentPerson('committer', store.config);
  await store.refs.update({ name: ref, before, after, person, message: `branch: Created from ${revision}` });
  if ((await store.refs.resolve('HEAD')) === undefined) await moveHead(store, ref);
  return after;
}

/** Removes a branch or tag; its versions stay in the store. Returns the id that it had. @throws ImgstoreError `NOT_FOUND`. */
export async function deleteRef(store: Store, kind: Kind, name: string): Promise<ObjectId> {
  const ref = fullRefName(kind, name);
  const before = await requireRef(store, ref, kind, name);
  const person = currentPerson('committer', store.config);
  await store.refs.update({ name: ref, before, after: NULL_ID, person, message: 'deleted' });
  if ((await store.refs.symbolicTarget('HEAD')) === ref) {
    // HEAD must not name what is gone while there is another image to name: `git clone` and `git log` start there.
    const other = (await store.refs.list(BRANCHES))[0];
    if (other !== undefined) await store.refs.setSymbolic('HEAD', other.name);
  }
  return before;
}

/** Gives a branch another name, with its log. @throws ImgstoreError `NOT_FOUND`, `EXISTS`, `BAD_NAME`. */
export async function renameBranch(store: Store, from: string, to: string): Promise<ObjectId> {
  const [old, next] = [fullRefName(BRANCHES, from), fullRefName(BRANCHES, to)];
  const id = await requireRef(store, old, BRANCHES, from);
  await refuseTaken(store, next, 'branch', to, false);
  const person = currentPerson('committer', store.config);
  const message = `branch: renamed ${old} to ${next}`;
  await store.refs.rename({ from: old, to: next, id, person, message });
  if ((await store.refs.symbolicTarget('HEAD')) === old) await store.refs.setSymbolic('HEAD', next);
  return id;
}

/**
 * Makes `HEAD` mean the image that was committed last, as in git it means the branch that commits go to. Another process that moves it at the
 * same time wins: the version is stored either way.
 */
export async function moveHead(store: Store, ref: string, monitor: Monitor = {}): Promise<void> {
  try {
    if ((await store.refs.symbolicTarget('HEAD')) !== ref) await store.refs.setSymbolic('HEAD', ref);
  } catch (error) {
    // The version is stored: that HEAD does not name it is no failure.
    if (!isImgstoreError(error)) throw error;
    if (error.code !== 'BUSY') monitor.onNotice?.(`HEAD was not moved: ${error.message}`);
  }
}

async function refuseTaken(
  store: Store,
  ref: string,
  what: string,
  name: string,
  force: boolean,
): Promise<ObjectId> {
  const id = await store.refs.resolve(ref);
  if (id !== undefined && !force) {
    throw new ImgstoreError(
      'EXISTS',
      `${what} '${name}' exists at ${id.slice(0, 12)}: pass --force to move it`,
      { name, id },
    );
  }
  return id ?? NULL_ID;
}

async function requireRef(store: Store, ref: string, kind: Kind, name: string): Promise<ObjectId> {
  const id = await store.refs.resolve(ref);
  if (id !== undefined) return id;
  const what = kind === BRANCHES ? 'branch' : 'tag';
  throw new ImgstoreError(
    'NOT_FOUND',
    `no ${what} '${name}': see 'imgstore ${kind === BRANCHES ? 'branch' : 'tag'}'`,
    { name },
  );
}
