import { type ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import { type Commit, type ObjectId, parseCommit } from '../../objects/index.ts';
import type { ObjectDatabase } from '../objects/database.ts';

/** A commit that a walk came to. */
export interface WalkedCommit {
  readonly id: ObjectId;
  readonly commit: Commit;
  /** The first of the starts, in their order, that leads here. */
  readonly start: number;
}

/** A commit that cannot be read: the walk goes no further there. */
export interface LostCommit {
  readonly id: ObjectId;
  /** A commit that has it as a parent; undefined when it is a start. */
  readonly child: ObjectId | undefined;
  readonly fault: ImgstoreError;
}

/** A commit that was found, and how many of its children are still to be yielded. */
interface FoundCommit extends WalkedCommit {
  waitsFor: number;
}

/**
 * The commits that some starts lead to, each once, newest first by the committer's date, but never before one of its children, whatever the clocks said: `git log
 * --date-order`. Reads all of them before the first is yielded.
 * @param onLost told of every commit that cannot be read, before the first is yielded; without it the walk fails with the first
 * @throws ImgstoreError `NOT_FOUND`, `DAMAGED`
 */
export function* walkCommits(
  database: ObjectDatabase,
  starts: readonly ObjectId[],
  onLost: (lost: LostCommit) => void = throwLost,
): Generator<WalkedCommit> {
  const found = findCommits(database, starts, onLost);
  // Oldest first, so that the newest is taken from the end; of equal dates the one found first is taken first.
  const ready: FoundCommit[] = [];
  const add = (commit: FoundCommit) => {
    const { seconds } = commit.commit.committer;
    const at = ready.findLastIndex((other) => other.commit.committer.seconds < seconds) + 1;
    ready.splice(at, 0, commit);
  };
  for (const commit of found.values()) if (commit.waitsFor === 0) add(commit);
  for (let next = ready.pop(); next !== undefined; next = ready.pop()) {
    yield next;
    for (const parent of next.commit.parents) {
      const waiting = found.get(parent);
      if (waiting === undefined) continue;
      waiting.waitsFor--;
      if (waiting.waitsFor === 0) add(waiting);
    }
  }
}

function findCommits(
  database: ObjectDatabase,
  starts: readonly ObjectId[],
  onLost: (lost: LostCommit) => void,
): ReadonlyMap<ObjectId, FoundCommit> {
  const found = new Map<ObjectId, FoundCommit>();
  const lost = new Set<ObjectId>();
  for (const [start, tip] of starts.entries()) {
    const open: { id: ObjectId; child: ObjectId | undefined }[] = [{ id: tip, child: undefined }];
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      const { id, child } = next;
      if (found.has(id) || lost.has(id)) continue;
      const commit = readCommit(database, id);
      if (isImgstoreError(commit)) {
        lost.add(id);
        onLost({ id, child, fault: commit });
        continue;
      }
      found.set(id, { id, commit, start, waitsFor: 0 });
      for (const parent of commit.parents) open.push({ id: parent, child: id });
    }
  }
  for (const { commit } of found.values())
    for (const parent of commit.parents) {
      const waiting = found.get(parent);
      if (waiting !== undefined) waiting.waitsFor++;
    }
  return found;
}

function readCommit(database: ObjectDatabase, id: ObjectId): Commit | ImgstoreError {
  try {
    return parseCommit(database.readAs('commit', id));
  } catch (error) {
    if (isImgstoreError(error)) return error;
    throw error;
  }
}

function throwLost({ fault }: LostCommit): never {
  throw fault;
}

/** What is wrong, for a message. */
export function lostText({ child, fault }: LostCommit): string {
  return child === undefined
    ? fault.message
    : `the parent of version ${child.slice(0, 12)} cannot be read: ${fault.message}`;
}
