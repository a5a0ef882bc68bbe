import type { ObjectId, ObjectType } from '../../objects/index.ts';
import type { CopyFault } from '../workers/verify-jobs.ts';
import type { PackSource } from './pack-source.ts';
import type { DamagedFile, DamagedRef } from './report.ts';

/** Where a copy of an object is. */
export type CopyPlace =
  | { readonly source: PackSource; readonly offset: number }
  | { readonly source: undefined; readonly path: string };

/** A copy of an object with something wrong about it. */
export interface BadCopy {
  readonly id: ObjectId;
  readonly place: CopyPlace;
  readonly kind: Exclude<CopyFault['kind'], 'vanished' | 'malformed'>;
  readonly reason: string;
}

/** What is wrong with what an object says, as opposed to its bytes. */
export interface Problem {
  readonly kind: ObjectType;
  readonly reason: string;
}

/** An object that is named and is not there. */
export interface Absence {
  readonly kind: ObjectType | undefined;
  readonly neededBy: string;
}

/** A map of a git user may have a cluster of zeros in every slot. */
const MOST_NOTICES = 1000;

/** What the parts of a check have found so far. Memory: that of what is wrong. */
export class Findings {
  readonly copies: BadCopy[] = [];
  readonly problems = new Map<ObjectId, Problem>();
  readonly missing = new Map<ObjectId, Absence>();
  /** What objects should be of which no whole copy tells. */
  readonly wanted = new Map<ObjectId, ObjectType>();
  readonly files: DamagedFile[] = [];
  readonly refs: DamagedRef[] = [];
  readonly #notices = new Set<string>();
  #omittedNotices = 0;

  get notices(): string[] {
    const more = this.#omittedNotices === 0 ? [] : [`and ${this.#omittedNotices} more of this kind`];
    return [...this.#notices, ...more];
  }

  /** What is no damage, and worth knowing; of very many, the first. */
  notice(text: string): void {
    if (this.#notices.size < MOST_NOTICES) this.#notices.add(text);
    else this.#omittedNotices++;
  }

  /** The first thing that is wrong with an object is told: the others follow from it most often. */
  problem(id: ObjectId, kind: ObjectType, reason: string): void {
    if (!this.problems.has(id)) this.problems.set(id, { kind, reason });
  }

  absent(id: ObjectId, kind: ObjectType | undefined, neededBy: string): void {
    if (!this.missing.has(id)) this.missing.set(id, { kind, neededBy });
  }
}

/** As messages have it. */
export function placeText(place: CopyPlace): string {
  return place.source === undefined ? place.path : `${place.source.pack.path}: entry at ${place.offset}`;
}
