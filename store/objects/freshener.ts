import { existsSync, utimesSync } from 'node:fs';
import { fromSystem, systemCode } from '../../errors/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import type { ObjectDatabase } from './database.ts';
import { LooseNames } from './loose-names.ts';

/** Looks at an object that another process moves between packs and loose files at the same time. */
const MOST_TRIES = 3;

/** What setting the times of another user's file fails with, or any on a read-only file system. */
const NOT_OURS: ReadonlySet<string> = new Set(['EPERM', 'EACCES', 'EROFS']);

/**
 * Makes objects that are about to be used again young, by the times of the files that they are in, so that `gc` leaves them alone (git: `freshen_packed_object`). The time
 * is set first and then the file looked for, while `gc` looks at the time after it has decided and removes last.
 */
export class Freshener {
  readonly #database: ObjectDatabase;
  readonly #nowMs: () => number;
  /** Packs that are young since this began. */
  readonly #fresh = new Set<string>();
  readonly #looseNames: LooseNames;

  /** @param nowMs the file system's clock: ms since 1970 */
  constructor(database: ObjectDatabase, nowMs: () => number) {
    this.#database = database;
    this.#nowMs = nowMs;
    this.#looseNames = new LooseNames(database.loose);
  }

  /** Whether an object is in the store, to stay. What is only in a pack of unreachable objects does not count. @throws ImgstoreError `IO`. */
  keep(id: ObjectId): boolean {
    const { packs, loose } = this.#database;
    for (let tries = 0; tries < MOST_TRIES; tries++) {
      const stem = packs.holder(id);
      if (stem !== undefined) {
        if (this.#fresh.has(stem)) return true;
        if (this.#touch(`${stem}.pack`, `${stem}.idx`)) {
          this.#fresh.add(stem);
          return true;
        }
        packs.refresh();
        continue;
      }
      if (!this.#looseNames.mayHave(id) || !loose.has(id)) return false;
      const path = loose.path(id);
      if (this.#touch(path, path)) return true;
    }
    return false;
  }

  /** False when the file, or the other one without which it is seen by nobody, has gone. */
  #touch(path: string, shown: string): boolean {
    const seconds = this.#nowMs() / 1000;
    try {
      utimesSync(path, seconds, seconds);
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return false;
      // `gc` goes by announcements as well, and a version of which something has gone does not get a ref.
      if (!NOT_OURS.has(systemCode(error) ?? '')) throw fromSystem(error, path);
    }
    return existsSync(shown);
  }
}
