import { type Commit, type ObjectId, parseCommit } from '../../objects/index.ts';
import type { ObjectDatabase } from '../objects/database.ts';

/** A commit that a walk came to. */
export interface WalkedCommit {
  readonly id: ObjectId;
  readonly commit: Commit;
  /** The first of the starts, in their order, that leads here. */
  readonly start: number;
}

/**
 * The commits that some starts lead to, newest first by the committer's date, each once; a commit comes before its parents as far
 * as the dates say so, as in `git log`.
 */
export function* walkCommits(database: ObjectDatabase, starts: readonly ObjectId[]): Generator<WalkedCommit> {
  const seen = new Set<ObjectId>();
  const open: WalkedCommit[] = [];
  const add = (id: ObjectId, start: number) => {
    if (seen.has(id)) return;
    seen.add(id);
    const commit = parseCommit(database.readAs('commit', id));
    const at = open.findLastIndex((other) => other.commit.committer.seconds >= commit.committer.seconds) + 1;
    open.splice(at, 0, { id, commit, start });
  };
  starts.forEach(add);
  for (let next = open.shift(); next !== undefined; next = open.shift()) {
    yield next;
    for (const parent of next.commit.parents) add(parent, next.start);
  }
}
