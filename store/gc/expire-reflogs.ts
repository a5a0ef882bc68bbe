import { isImgstoreError } from '../../errors/index.ts';
import { NULL_ID, type ObjectId } from '../../objects/index.ts';
import { forgottenLogs } from '../forget/forget.ts';
import type { ObjectMarks } from '../objects/marks.ts';
import type { ReflogEntry } from '../refs/reflog.ts';
import type { Store } from '../store.ts';
import { parseWhen } from './when.ts';

/** Defaults of git-config(1). */
const EXPIRE = '90 days';
const EXPIRE_UNREACHABLE = '30 days';

/** Its log is the stash itself, and git lets it never expire. */
const STASH = 'refs/stash';

/**
 * Leaves lines out of the logs of refs: those that are older than `gc.reflogExpire`, those that are older than `gc.reflogExpireUnreachable` and name what no ref leads to,
 * and those that name what is gone.
 * @param marks what refs lead to
 * @returns the ids in the lines that stay
 */
export async function expireReflogs(store: Store, marks: ObjectMarks, nowMs: number): Promise<ObjectId[]> {
  const expire = parseWhen(store.config.get('gc.reflogExpire') ?? EXPIRE, nowMs);
  const unreachable = parseWhen(store.config.get('gc.reflogExpireUnreachable') ?? EXPIRE_UNREACHABLE, nowMs);
  const isKept = (entry: ReflogEntry) => {
    const ids = idsOf(entry);
    if (!ids.every((id) => store.objects.has(id))) return false;
    const time = entry.person.seconds * 1000;
    return time >= expire && (time >= unreachable || ids.every((id) => marks.has(id)));
  };
  const kept: ReflogEntry[] = [];
  for (const name of await store.refs.logs.list())
    kept.push(...(name === STASH ? await store.refs.logs.read(name) : await thin(store, name, isKept)));
  return kept.flatMap(idsOf);
}

/**
 * Gives up where refs were before `forget`, when that was longer ago than other unreachable objects are kept.
 * @param cutoffMs ms since 1970
 * @returns where they were otherwise
 */
export async function expireForgotten(store: Store, cutoffMs: number): Promise<ObjectId[]> {
  const logs = forgottenLogs(store);
  const kept: ObjectId[] = [];
  for (const name of await logs.list()) {
    const entries = await logs.read(name);
    const young = entries.filter(({ person }) => person.seconds * 1000 >= cutoffMs);
    if (young.length === 0) await logs.remove(name);
    else if (young.length < entries.length) await logs.replace(name, young);
    kept.push(...young.map(({ before }) => before));
  }
  return kept;
}

/** A ref that is being moved keeps its log until the next time. */
async function thin(
  store: Store,
  name: string,
  isKept: (entry: ReflogEntry) => boolean,
): Promise<readonly ReflogEntry[]> {
  const entries = await store.refs.logs.read(name);
  if (entries.every(isKept)) return entries;
  try {
    return await store.refs.thinLog(name, isKept);
  } catch (error) {
    if (!isImgstoreError(error, 'BUSY')) throw error;
    return entries;
  }
}

function idsOf({ before, after }: ReflogEntry): ObjectId[] {
  return [before, after].filter((id) => id !== NULL_ID);
}
