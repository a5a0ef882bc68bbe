import { type ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import { NULL_ID, type ObjectId, parseCommit } from '../../objects/index.ts';
import type { ObjectDatabase } from '../objects/database.ts';
import type { Store } from '../store.ts';
import { BRANCHES, shortRefName, TAGS } from './name.ts';

/** A ref that leads to no version. */
export interface DamagedRef {
  /** Full name. */
  readonly name: string;
  /** The object that it names, where that much can be read. */
  readonly id: ObjectId | undefined;
  /** One line: which ref, what is wrong, what to do. */
  readonly message: string;
}

/** Digits of an id in a command to be typed. */
const TYPED_DIGITS = 12;

/** What to do about objects that are gone: another copy of the store may have them, or an image. */
export const MISSING_REMEDY = "'imgstore fsck' lists all that is missing, and says how to bring it back";

/** One line about a ref that leads to no version, with the way out. */
export async function describeDamage(store: Store, name: string, fault: ImgstoreError): Promise<string> {
  return `${refWithKind(name)}: ${fault.message}: ${await remedy(store, name)}`;
}

/** `branch 'web'`, `tag 'v1'`; the full name of any other ref. */
export function refWithKind(name: string): string {
  if (name.startsWith(BRANCHES)) return `branch '${shortRefName(name)}'`;
  return name.startsWith(TAGS) ? `tag '${shortRefName(name)}'` : name;
}

async function remedy(store: Store, name: string): Promise<string> {
  const short = shortRefName(name);
  if (name.startsWith(TAGS))
    return `make it again with 'imgstore tag -f ${short} REV', or remove it with 'imgstore tag -d ${short}'`;
  if (name === 'HEAD') return 'name a version instead; the next commit sets HEAD';
  if (!name.startsWith(BRANCHES)) return `remove it with 'git update-ref -d ${name}'`;
  const logged = await lastInLog(store, name);
  const [to, from] =
    logged === undefined ? ['REV', ''] : [logged.slice(0, TYPED_DIGITS), ', the last in its log'];
  return `put it at a version with 'imgstore branch -f ${short} ${to}'${from}, or remove it with 'imgstore branch -d ${short}'`;
}

/** The last version in a ref's log that can be read. */
async function lastInLog(store: Store, name: string): Promise<ObjectId | undefined> {
  const entries = await store.refs.logs.read(name);
  return entries
    .flatMap(({ before, after }) => [before, after])
    .findLast((id) => id !== NULL_ID && isReadableCommit(store.objects, id));
}

function isReadableCommit(database: ObjectDatabase, id: ObjectId): boolean {
  try {
    parseCommit(database.readAs('commit', id));
    return true;
  } catch (error) {
    if (isImgstoreError(error)) return false;
    throw error;
  }
}
