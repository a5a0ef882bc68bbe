import { isImgstoreError } from '../../errors/index.ts';
import { type ObjectId, parseCommit } from '../../objects/index.ts';
import type { ObjectDatabase } from '../objects/database.ts';

/** Which commit follows which, for questions about many refs: each is read once. What cannot be read has no parents. */
export class CommitGraph {
  readonly #database: ObjectDatabase;
  readonly #parents = new Map<ObjectId, readonly ObjectId[]>();

  constructor(database: ObjectDatabase) {
    this.#database = database;
  }

  /** Whether a version is in the history of another, or is that. */
  isAncestor(old: ObjectId, tip: ObjectId): boolean {
    if (!this.#database.has(old)) return false;
    for (const id of this.from([tip])) if (id === old) return true;
    return false;
  }

  /**
   * The commits that some lead to, each once, those by first parents first.
   * @param isEnd of which commits neither they nor what is behind them is wanted
   */
  *from(tips: readonly ObjectId[], isEnd: (id: ObjectId) => boolean = () => false): Generator<ObjectId> {
    const visited = new Set<ObjectId>();
    const open = [...tips];
    for (let id = open.pop(); id !== undefined; id = open.pop()) {
      if (visited.has(id) || isEnd(id)) continue;
      visited.add(id);
      yield id;
      open.push(...this.#parentsOf(id).toReversed());
    }
  }

  #parentsOf(id: ObjectId): readonly ObjectId[] {
    const parents = this.#parents.get(id) ?? this.#read(id);
    this.#parents.set(id, parents);
    return parents;
  }

  #read(id: ObjectId): readonly ObjectId[] {
    try {
      return parseCommit(this.#database.readAs('commit', id)).parents;
    } catch (error) {
      if (isImgstoreError(error)) return [];
      throw error;
    }
  }
}
