import { isImgstoreError } from '../../errors/index.ts';
import { isFolder, type ObjectId, parseCommit, parseTree, type TreeEntry } from '../../objects/index.ts';
import type { ObjectDatabase } from '../objects/database.ts';
import type { Store } from '../store.ts';
import { NO_BASE, type ObjectTable, TYPES } from './object-table.ts';

/** In which order objects go into the pack, and what lay at their places in another version. */
export interface Sequence {
  /** Rows of the table: commits, tags, trees, clusters, each kind from the newest version to the oldest; then the deltas that are taken over. */
  readonly rows: Uint32Array;
  /**
   * The object that took a row's place in the next version, or had it in the last, when that is known: its row, or the id of one that is not in the table.
   */
  sibling(row: number): number | ObjectId | undefined;
}

/**
 * Walks the versions whose commits are gathered, newest first by the committer's date, entering only what differs from the parent: the cost is that of the changes.
 * So the newest versions come first in the pack, where they stay whole, and lie together as they are read.
 */
export async function sequenceObjects(store: Store, table: ObjectTable): Promise<Sequence> {
  const walk = new SequenceWalk(store.objects, table);
  for (const { id, parent } of gatheredCommits(store.objects, table)) {
    try {
      await walk.enterCommit(id, parent);
    } catch (error) {
      // A commit that no ref leads to may have lost some of its trees to git's prune: what is there of it comes behind.
      if (!isImgstoreError(error, 'NOT_FOUND')) throw error;
    }
  }
  return walk.finish();
}

function gatheredCommits(
  database: ObjectDatabase,
  table: ObjectTable,
): readonly { readonly id: ObjectId; readonly parent: ObjectId | undefined }[] {
  const commit = TYPES.indexOf('commit');
  return Array.from(table.type.keys())
    .filter((row) => table.type[row] === commit)
    .map((row) => {
      const id = table.id(row);
      const { parents, committer } = parseCommit(database.readAs('commit', id));
      return { id, parent: parents[0], seconds: committer.seconds };
    })
    .sort((a, b) => b.seconds - a.seconds);
}

const NO_SIBLING = -1;
const SIBLING_OUTSIDE = -2;

class SequenceWalk {
  readonly #database: ObjectDatabase;
  readonly #table: ObjectTable;
  readonly #taken: Uint8Array;
  readonly #byType: number[][] = TYPES.map(() => []);
  /** By row: the sibling's row, or one of the two below. */
  readonly #sibling: Int32Array;
  readonly #outside = new Map<number, ObjectId>();

  constructor(database: ObjectDatabase, table: ObjectTable) {
    this.#database = database;
    this.#table = table;
    this.#taken = new Uint8Array(table.count);
    this.#sibling = new Int32Array(table.count).fill(NO_SIBLING);
  }

  async enterCommit(id: ObjectId, parent: ObjectId | undefined): Promise<void> {
    this.#take(id, undefined);
    await this.#enterTree(this.#treeOf(id)!, parent === undefined ? undefined : this.#treeOf(parent));
  }

  /** Everything else goes behind, by id. */
  finish(): Sequence {
    for (let row = 0; row < this.#table.count; row++) this.#takeRow(row);
    const { keptBase, source, entry } = this.#table;
    const kept = Array.from(keptBase.keys()).filter((row) => keptBase[row] !== NO_BASE);
    // In the order of the pack that they come from, where a base comes before its deltas.
    kept.sort((a, b) => source[a]! - source[b]! || entry[a]! - entry[b]!);
    return {
      rows: Uint32Array.from([...this.#byType, kept].flat()),
      sibling: (row) => this.#siblingOf(row),
    };
  }

  #siblingOf(row: number): number | ObjectId | undefined {
    const sibling = this.#sibling[row]!;
    return sibling >= 0 ? sibling : this.#outside.get(row);
  }

  #treeOf(commit: ObjectId): ObjectId | undefined {
    try {
      return parseCommit(this.#database.readAs('commit', commit)).tree;
    } catch (error) {
      if (this.#table.find(commit) !== undefined) throw error;
      // A parent outside of what is packed may be missing: then all is new.
      return undefined;
    }
  }

  async #enterTree(after: ObjectId, before: ObjectId | undefined): Promise<void> {
    if (after === before || !this.#take(after, before)) return;
    const old = new Map(
      (before === undefined ? [] : await this.#read(before)).map((each) => [each.name, each]),
    );
    for (const each of await this.#read(after)) {
      const was = old.get(each.name);
      const sibling = was !== undefined && isFolder(was) === isFolder(each) ? was.id : undefined;
      if (isFolder(each)) await this.#enterTree(each.id, sibling);
      else if (each.id !== sibling) this.#take(each.id, sibling);
    }
  }

  async #read(id: ObjectId): Promise<readonly TreeEntry[]> {
    return parseTree(await this.#database.readTree(id));
  }

  /** Puts an object at the end of its kind, unless it is there already. Returns false for a tree that was entered before. */
  #take(id: ObjectId, before: ObjectId | undefined): boolean {
    const row = this.#table.find(id);
    if (before !== undefined) this.#pair(id, row, before);
    if (row === undefined) return true;
    if (this.#taken[row]) return false;
    this.#takeRow(row);
    return true;
  }

  /** The older of two goes behind the newer, so the newer is its candidate; where the older is packed already, the other way round. */
  #pair(id: ObjectId, row: number | undefined, before: ObjectId): void {
    const older = this.#table.find(before);
    if (older !== undefined) this.#join(older, row ?? id);
    else if (row !== undefined) this.#join(row, before);
  }

  #join(row: number, sibling: number | ObjectId): void {
    if (this.#sibling[row] !== NO_SIBLING) return;
    if (typeof sibling === 'number') {
      this.#sibling[row] = sibling;
    } else {
      this.#sibling[row] = SIBLING_OUTSIDE;
      this.#outside.set(row, sibling);
    }
  }

  #takeRow(row: number): void {
    if (this.#taken[row] || this.#table.keptBase[row] !== NO_BASE) return;
    this.#taken[row] = 1;
    this.#byType[this.#table.type[row]!]!.push(row);
  }
}
