import { readFileSync, readSync } from 'node:fs';
import { fromSystem, ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import { codecs, type GitObject, type ObjectId, type ObjectType, parseLoose } from '../../objects/index.ts';
import type { PackedObject } from '../../pack/index.ts';
import type { ObjectDatabase } from '../objects/database.ts';

/**
 * Where a cluster's bytes are, in a form that another thread can use: descriptors and paths hold for all threads of a process.
 *
 * A delta needs its base, which only the thread with the pack's index can find: that thread resolves it and sends the data.
 */
export type StoredStream =
  | {
      readonly kind: 'packed';
      readonly where: string;
      readonly fd: number;
      readonly offset: number;
      readonly length: number;
      readonly type: ObjectType;
      readonly size: number;
    }
  | { readonly kind: 'loose'; readonly where: string }
  | { readonly kind: 'data'; readonly where: string; readonly type: ObjectType; readonly data: Uint8Array };

/** Finds an object. @throws ImgstoreError `NOT_FOUND`, `DAMAGED`. */
export function locateStored(database: ObjectDatabase, id: ObjectId): StoredStream {
  const place = database.packs.find(id);
  if (place === undefined && database.loose.has(id)) return { kind: 'loose', where: database.loose.path(id) };
  const stream = place === undefined ? undefined : wholeStream(place);
  return stream ?? resolved(database, id);
}

/** Undefined also for an entry that is damaged: the database may have another copy, and else says what is wrong. */
function wholeStream({ pack, position }: PackedObject): StoredStream | undefined {
  try {
    const stream = pack.wholeStream(position);
    if (stream === undefined) return undefined;
    return { kind: 'packed', where: `${pack.path}: entry at ${stream.offset}`, ...stream };
  } catch (error) {
    if (isImgstoreError(error, 'DAMAGED')) return undefined;
    throw error;
  }
}

function resolved(database: ObjectDatabase, id: ObjectId): StoredStream {
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
      return work(items.map((item) => ({ ...item, stored: locateStored(database, item.id) })));
    }
    if (!isImgstoreError(error, 'DAMAGED')) throw error;
    return work(items.map((item) => ({ ...item, stored: resolved(database, item.id) })));
  }
}

/** Reads what {@link locateStored} found. The id is not checked here. @throws ImgstoreError `DAMAGED`, `IO`. */
export function readStored(stored: StoredStream, id: ObjectId): GitObject {
  if (stored.kind === 'data') return stored;
  try {
    if (stored.kind === 'loose') return parseLoose(readFileSync(stored.where));
    const stream = scratch(stored.length);
    const count = readSync(stored.fd, stream, 0, stored.length, stored.offset);
    return { type: stored.type, data: codecs().deflate.inflate(stream.subarray(0, count), stored.size) };
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

let buffer = Buffer.alloc(0);

/** One buffer a thread for streams, as each is done with before the next is read. */
function scratch(length: number): Buffer {
  if (buffer.length < length) buffer = Buffer.allocUnsafeSlow(length);
  return buffer.subarray(0, length);
}
