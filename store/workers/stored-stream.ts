import { readFileSync } from 'node:fs';
import { fromSystem, ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import {
  type GitObject,
  type ObjectId,
  type ObjectType,
  parseLoose,
  verifyObject,
} from '../../objects/index.ts';
import {
  type Pack,
  type PackedEntry,
  type PackedObject,
  type PackedStreams,
  readStreams,
} from '../../pack/index.ts';
import type { ObjectDatabase } from '../objects/database.ts';

/** Where a cluster's bytes are, in a form that another thread can use: descriptors and paths hold for all threads of a process. */
export type StoredStream =
  | ({ readonly kind: 'packed'; readonly where: string } & PackedStreams)
  | { readonly kind: 'loose'; readonly where: string }
  | { readonly kind: 'data'; readonly where: string; readonly type: ObjectType; readonly data: Uint8Array };

/** Finds an object. @throws ImgstoreError `NOT_FOUND`, `DAMAGED`. */
export function locateStored(database: ObjectDatabase, id: ObjectId): StoredStream {
  const place = database.packs.find(id);
  if (place === undefined) {
    const held = database.held(id);
    if (held !== undefined) return { kind: 'data', where: `object ${id}`, ...held };
    const loose = [database.loose, database.copies].find((folder) => folder?.has(id));
    if (loose !== undefined) return { kind: 'loose', where: loose.path(id) };
    // The copy has gone meanwhile: whoever looks there takes it as one that goes a moment later.
    if (database.copies !== undefined && database.isPromised(id))
      return { kind: 'loose', where: database.copies.path(id) };
  }
  return (place === undefined ? undefined : packedOrUndefined(place)) ?? resolveStored(database, id);
}

/** Where an object's entry in a pack begins; undefined when it is in none, or nothing can be said, about which {@link locateStored} says more. */
export function locateEntry(database: ObjectDatabase, id: ObjectId): PackedEntry | undefined {
  try {
    const place = database.packs.find(id);
    return place?.pack.entryAt(place.offset);
  } catch (error) {
    if (isImgstoreError(error, 'DAMAGED') || isImgstoreError(error, 'NOT_FOUND')) return undefined;
    throw error;
  }
}

/** Undefined for an entry that is damaged, or whose pack has gone: the database may have another copy, and else says what is wrong. */
function packedOrUndefined({ pack, offset }: PackedObject): StoredStream | undefined {
  try {
    return locateAt(pack, offset);
  } catch (error) {
    if (isImgstoreError(error, 'DAMAGED') || isImgstoreError(error, 'NOT_FOUND')) return undefined;
    throw error;
  }
}

/** Where the object at a position of a pack's index is. @throws ImgstoreError `DAMAGED`. */
export function locatePacked({
  pack,
  position,
}: {
  readonly pack: Pack;
  readonly position: number;
}): StoredStream {
  return locateAt(pack, pack.idx.offset(position));
}

function locateAt(pack: Pack, offset: number): StoredStream {
  return { kind: 'packed', where: `${pack.path}: entry at ${offset}`, ...pack.streamsAt(offset) };
}

/** The object itself, from the first copy that is whole. @throws ImgstoreError `NOT_FOUND`, `DAMAGED`. */
export function resolveStored(database: ObjectDatabase, id: ObjectId): StoredStream {
  const { type, data } = database.read(id);
  return { kind: 'data', where: `object ${id}`, type, data };
}

/**
 * Does work on objects that {@link locateStored} found; when one is not there any more, or is damaged there, once more with the places anew:
 * git moves loose objects into packs and replaces packs at any time, and there may be a whole copy elsewhere.
 * @throws ImgstoreError what the work throws the second time; `NOT_FOUND`, `DAMAGED`
 */
export async function withLocated<Item extends { readonly id: ObjectId }, Result>(
  database: ObjectDatabase,
  items: readonly (Item & { readonly stored: StoredStream })[],
  work: (items: readonly (Item & { readonly stored: StoredStream })[]) => Promise<Result>,
): Promise<Result> {
  try {
    return await work(items);
  } catch (error) {
    if (isImgstoreError(error, 'NOT_FOUND')) {
      // With the packs of now, an object that can go from its loose file is found in a pack, which stays open.
      database.packs.refresh();
      // A copy of what is elsewhere may have gone to make room for others.
      await database.hold(items.map(({ id }) => id));
      return work(items.map((item) => ({ ...item, stored: locateStored(database, item.id) })));
    }
    if (!isImgstoreError(error, 'DAMAGED')) throw error;
    await database.hold(items.map(({ id }) => id));
    return work(items.map((item) => ({ ...item, stored: resolveStored(database, item.id) })));
  }
}

/** Reads what {@link locateStored} found. The id is not checked here. @throws ImgstoreError `DAMAGED`, `IO`. */
export function readStored(stored: StoredStream, id: ObjectId): GitObject {
  if (stored.kind === 'data') return stored;
  try {
    if (stored.kind === 'loose') return parseLoose(readFileSync(stored.where));
    return readStreams(stored);
  } catch (error) {
    if (!(error instanceof ImgstoreError)) throw fromSystem(error, stored.where);
    throw new ImgstoreError(
      error.code,
      `${stored.where}: object ${id}: ${error.message}`,
      { ...error.data, id },
      error,
    );
  }
}

/** Reads what {@link locateStored} found, and checks it against its id. @throws ImgstoreError `DAMAGED`, `IO`. */
export function readVerified(stored: StoredStream, id: ObjectId): GitObject {
  const object = readStored(stored, id);
  verifyObject(id, object, stored.where);
  return object;
}
