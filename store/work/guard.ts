import { ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import type { FileRules } from '../../files/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import { findSuccessors, hasForgotten } from '../forget/successors.ts';
import { walkCommits } from '../history/walk.ts';
import type { ObjectDatabase } from '../objects/database.ts';
import { ObjectMarks } from '../objects/marks.ts';
import { markReachable } from '../reach/mark-reachable.ts';
import type { MoveGuard } from '../refs/refs.ts';
import type { SweepWatch } from '../stat-cache.ts';
import { Announcement } from './announcement.ts';
import { isSameSweep, readSweeps, type SweepState, waitForSweep } from './sweeps.ts';

/**
 * Keeps refs from being moved to what `gc` is removing.
 *
 * `gc` says that it sweeps, then looks for announcements and refs; whoever moves a ref announces where to, then looks whether anybody sweeps. So one of the two sees the
 * other. A sweep that lay between looking at objects and moving a ref to them makes the mover look whether all of them are still there.
 */
export class SweepGuard implements MoveGuard, SweepWatch {
  readonly #folder: string;
  readonly #database: ObjectDatabase;
  #seen: SweepState;

  readonly #tips: () => Promise<readonly ObjectId[]>;
  readonly #rules: FileRules;

  /**
   * To be made before the first look at the store's objects.
   * @param folder the store
   * @param tips what the store's refs lead to now
   * @param rules how the store's files are made
   */
  constructor(
    folder: string,
    database: ObjectDatabase,
    tips: () => Promise<readonly ObjectId[]>,
    rules: FileRules,
  ) {
    this.#rules = rules;
    this.#folder = folder;
    this.#database = database;
    this.#tips = tips;
    this.#seen = readSweeps(folder);
  }

  /**
   * Moves a ref, by `move`, to an object.
   * @throws ImgstoreError `BUSY` when `gc` has removed a part of it, so that it must be stored again, or does not come to an end; what `move` throws
   */
  async moveTo(id: ObjectId, move: () => Promise<void>): Promise<void> {
    const announcement = Announcement.make(this.#folder, this.#rules, 'reads', [id]);
    try {
      const now = await waitForSweep(this.#folder, this.#rules);
      if (!isSameSweep(this.#seen, now)) await this.#requireWhole(id);
      this.#seen = now;
      await move();
    } finally {
      announcement.withdraw();
    }
  }

  stamp(): number {
    return readSweeps(this.#folder).number;
  }

  /** That no sweep can have taken a part of a version shows in that there was none since, or that a ref leads to it. */
  async current(commit: ObjectId, stamp: number): Promise<ObjectId | undefined> {
    if (hasForgotten(this.#folder)) {
      const successor = findSuccessors(this.#database, await this.#tips(), commit).get(commit);
      if (successor?.isSame) return successor.commit;
    }
    const { number, sweeper } = readSweeps(this.#folder);
    const isWhole = (number === stamp && sweeper === undefined) || (await this.#commitsOfRefs()).has(commit);
    return isWhole ? commit : undefined;
  }

  async #commitsOfRefs(): Promise<ReadonlySet<ObjectId>> {
    const commits = (await this.#tips()).filter((tip) => this.#isCommit(tip));
    return new Set([...walkCommits(this.#database, commits, () => {})].map(({ id }) => id));
  }

  async #requireWhole(id: ObjectId): Promise<void> {
    this.#database.packs.refresh();
    const marks = new ObjectMarks(this.#database);
    // What refs lead to was kept, and what is damaged there must not keep new versions out.
    for (const commit of await this.#commitsOfRefs()) marks.mark(commit);
    try {
      await markReachable(this.#database, marks, [id], { requireBlobs: true });
    } catch (error) {
      if (!isImgstoreError(error, 'NOT_FOUND')) throw error;
      throw new ImgstoreError(
        'BUSY',
        `version ${id.slice(0, 12)}: gc has removed a part of it meanwhile (${error.message}): run the command again`,
        { id },
        error,
      );
    }
  }

  #isCommit(id: ObjectId): boolean {
    try {
      return this.#database.header(id).type === 'commit';
    } catch (error) {
      if (isImgstoreError(error)) return false;
      throw error;
    }
  }
}
