import { ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import { encodeTag, NULL_ID, type ObjectId } from '../../objects/index.ts';
import { currentPerson } from '../person.ts';
import type { Monitor } from '../progress.ts';
import { resolveCommit } from '../revision/resolve.ts';
import type { Store } from '../store.ts';
import { describeDamage } from './damage.ts';
import { BRANCHES, existingRefName, fullRefName, kindWord, type RefKind, TAGS } from './name.ts';
import { renameRef } from './rename.ts';

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
  const before = await refuseTaken(store, TAGS, name, options.force);
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
  const before = await refuseTaken(store, BRANCHES, name, force);
  const after = await resolveCommit(store, revision);
  const person = currentPerson('committer', store.config);
  await store.refs.update({ name: ref, before, after, person, message: `branch: Created from ${revision}` });
  if ((await store.refs.follow('HEAD')).id === undefined) await moveHead(store, ref);
  return after;
}

/**
 * Removes a branch or tag, also one that cannot be read; its versions stay in the store. A symbolic one goes by itself, what it leads to stays.
 * Returns the id that it had, where that can be read.
 * @throws ImgstoreError `NOT_FOUND`
 */
export async function deleteRef(store: Store, kind: RefKind, name: string): Promise<ObjectId | undefined> {
  const ref = existingRefName(kind, name);
  const { id, fault, symbolic } = await store.refs.follow(ref);
  const readable = fault === undefined && id !== undefined;
  if (!readable && fault === undefined && symbolic.length === 0) throw notThere(kind, name);
  const person = currentPerson('committer', store.config);
  const before = readable ? id : undefined;
  await store.refs.update({ name: ref, before, after: NULL_ID, person, message: 'deleted' });
  if ((await namedByHead(store)) === ref) {
    // HEAD must not name what is gone while there is another image to name: `git clone` and `git log` start there.
    const other = (await store.refs.list(BRANCHES))[0];
    if (other !== undefined) await store.refs.setSymbolic('HEAD', other.name);
  }
  return id;
}

/**
 * Gives a branch another name, with its log.
 * @param force replaces a branch that has the name
 * @throws ImgstoreError `NOT_FOUND`, `EXISTS`, `BAD_NAME`, `UNSUPPORTED` for a symbolic branch, `DAMAGED`
 */
export async function renameBranch(store: Store, from: string, to: string, force = false): Promise<ObjectId> {
  const old = existingRefName(BRANCHES, from);
  const next = fullRefName(BRANCHES, to);
  const { id, fault, symbolic } = await store.refs.follow(old);
  if (fault !== undefined)
    throw new ImgstoreError(fault.code, await describeDamage(store, old, fault), fault.data, fault);
  if (symbolic.length > 0) throw symbolicRename(from);
  if (id === undefined) throw notThere(BRANCHES, from);
  await refuseTaken(store, BRANCHES, to, force);
  if (next === old) return id;
  const person = currentPerson('committer', store.config);
  const message = `branch: renamed ${old} to ${next}`;
  await renameRef(store.refs, { from: old, to: next, id, person, message, force });
  if ((await namedByHead(store)) === old) await store.refs.setSymbolic('HEAD', next);
  return id;
}

/**
 * Makes `HEAD` mean the image that was committed last, as in git it means the branch that commits go to. Another process that moves it at the
 * same time wins: the version is stored either way.
 */
export async function moveHead(store: Store, ref: string, monitor: Monitor = {}): Promise<void> {
  try {
    if ((await namedByHead(store)) !== ref) await store.refs.setSymbolic('HEAD', ref);
  } catch (error) {
    // The version is stored: that HEAD does not name it is no failure.
    if (!isImgstoreError(error)) throw error;
    if (error.code !== 'BUSY') monitor.onNotice?.(`HEAD was not moved: ${error.message}`);
  }
}

/** The ref that HEAD names; undefined when it names none, or holds what no HEAD can. */
async function namedByHead(store: Store): Promise<string | undefined> {
  try {
    return await store.refs.symbolicTarget('HEAD');
  } catch (error) {
    if (isImgstoreError(error)) return undefined;
    throw error;
  }
}

/** Where a ref that is to be made or moved is: {@link NULL_ID} for nowhere, undefined when that cannot be read. */
async function refuseTaken(
  store: Store,
  kind: RefKind,
  name: string,
  force = false,
): Promise<ObjectId | undefined> {
  const { id, fault } = await store.refs.follow(kind + name);
  if (fault === undefined && id === undefined) return NULL_ID;
  if (force) return id;
  const where = id === undefined ? 'but cannot be read' : `at ${id.slice(0, 12)}`;
  throw new ImgstoreError('EXISTS', `${kindWord(kind)} '${name}' exists ${where}: pass --force to move it`, {
    name,
    id,
  });
}

function notThere(kind: RefKind, name: string): ImgstoreError {
  const word = kindWord(kind);
  return new ImgstoreError('NOT_FOUND', `no ${word} '${name}': see 'imgstore ${word}'`, { name });
}

function symbolicRename(name: string): ImgstoreError {
  return new ImgstoreError(
    'UNSUPPORTED',
    `branch '${name}' only leads to another one: rename that, or remove this with 'imgstore branch -d ${name}'`,
    { name },
  );
}
