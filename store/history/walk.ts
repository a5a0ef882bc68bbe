import { type Commit, type ObjectId, parseCommit } from '../../objects/index.ts';
import type { ObjectDatabase } from '../objects/database.ts';

/** A commit that a walk came to. */
export interface WalkedCommit {
  readonly id: ObjectId;
  readonly commit: Commit;
  /** The first of the starts, in their order, that leads here. */
  readonly start: number;
}

/** A commit that was found, and how many of its children are still to be yielded. */
interface FoundCommit extends WalkedCommit {
  waitsFor: number;
}

/**
 * The commits that some starts lead to, each once, newest first by the committer's date, but never before one of its children, whatever the clocks said: `git log
 * --date-order`. Reads all of them before the first is yielded.
 */
export function* walkCommits(database: ObjectDatabase, starts: readonly ObjectId[]): Generator<WalkedCommit> {
  const found = findCommits(database, starts);
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
      const waiting = found.get(parent)!;
      waiting.waitsFor--;
      if (waiting.waitsFor === 0) add(waiting);
    }
  }
}

function findCommits(
  database: ObjectDatabase,
  starts: readonly ObjectId[],
): ReadonlyMap<ObjectId, FoundCommit> {
  const found = new Map<ObjectId, FoundCommit>();
  for (const [start, tip] of starts.entries()) {
    const open = [tip];
    for (let id = open.pop(); id !== undefined; id = open.pop()) {
      if (found.has(id)) continue;
      const commit = parseCommit(database.readAs('commit', id));
      found.set(id, { id, commit, start, waitsFor: 0 });
      open.push(...commit.parents);
    }
  }
  for (const { commit } of found.values()) for (const parent of commit.parents) found.get(parent)!.waitsFor++;
  return found;
}
