import type { ObjectId, ObjectType } from '../../objects/index.ts';

/** Bytes of a disk. */
export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

/** What of a version an object that is lost takes with it. */
export interface Touched {
  /** The version's commit. */
  readonly version: ObjectId;
  /** As a user would write it: `web~2`; the short id where no branch leads there by first parents. */
  readonly name: string;
  /** Undefined for what is no part of a disk. */
  readonly disk: string | undefined;
  /** Path in the version's tree (`files/nvram`); empty for the version as a whole. */
  readonly path: string;
  /** Of the disk, ascending, neighbours joined. */
  readonly ranges: readonly ByteRange[];
}

/** A damaged copy of an object, or an object that was made wrong. */
export interface DamagedObject {
  readonly id: ObjectId;
  /** Undefined when nothing whole tells. */
  readonly kind: ObjectType | undefined;
  /** The file, for a packed object with the offset of its entry. */
  readonly where: string;
  readonly reason: string;
  /** No copy of it can be read, or what it says is not valid. */
  readonly lost: boolean;
  readonly touches: readonly Touched[];
}

/** An object that is named and is nowhere. */
export interface MissingObject {
  readonly id: ObjectId;
  readonly kind: ObjectType | undefined;
  /** What names it. */
  readonly neededBy: string;
  readonly touches: readonly Touched[];
}

/** What a damaged file is. */
export type StoreFile =
  | 'pack'
  | 'idx'
  | 'rev'
  | 'mtimes'
  | 'midx'
  | 'bitmap'
  | 'commit-graph'
  | 'packed-refs';

/** A file of the store that is damaged as a whole. */
export interface DamagedFile {
  readonly path: string;
  readonly kind: StoreFile;
  readonly reason: string;
}

/** A ref, or a line of a reflog, that cannot be read or leads nowhere. */
export interface DamagedRef {
  /** Full name; of a reflog that of its ref. */
  readonly name: string;
  /** The file, with the line where there are several. */
  readonly where: string;
  readonly isLog: boolean;
  /** What it names, where that much can be read. */
  readonly id: ObjectId | undefined;
  readonly reason: string;
}

/** What `fsck` found. */
export interface FsckReport {
  /** Different objects in the store. */
  readonly objects: number;
  readonly damaged: readonly DamagedObject[];
  readonly missing: readonly MissingObject[];
  /** Objects that nothing leads to. */
  readonly dangling: number;
  readonly files: readonly DamagedFile[];
  readonly refs: readonly DamagedRef[];
  /** What is no damage, and worth knowing. */
  readonly notices: readonly string[];
  /** Touched parts of versions that are not listed with the objects, as there are too many. */
  readonly omittedTouches: number;
  readonly clean: boolean;
  readonly seconds: number;
}

/** A message without the place that it begins with, which the report names by itself. */
export function withoutPlace(message: string, place: string): string {
  return message.startsWith(`${place}: `) ? message.slice(place.length + 2) : message;
}
