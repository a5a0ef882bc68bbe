import { readFileSync, readSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { isZero } from '../../block/index.ts';
import { fromSystem, ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import {
  codecs,
  type GitObject,
  inflateMeasured,
  MOST_OBJECT_BYTES,
  type ObjectId,
  type ObjectType,
  parseCommit,
  parseObjectHeader,
  parseTag,
  parseTree,
  verifyObject,
} from '../../objects/index.ts';
import {
  checksumOfBody,
  FileBytes,
  isOutOfResources,
  type PackedStreams,
  readStreams,
} from '../../pack/index.ts';

/** An object to be verified. */
export type ObjectToVerify = PackedToVerify | LooseToVerify;

export interface PackedToVerify {
  readonly id: ObjectId;
  readonly streams: PackedStreams;
  /** Byte of the pack at which the entry begins. */
  readonly offset: number;
  /** Byte behind it. */
  readonly end: number;
  /** CRC-32 of the entry, as the index has it. */
  readonly crc: number;
}

export interface LooseToVerify {
  readonly id: ObjectId;
  readonly path: string;
}

/** What is wrong with a copy of an object. */
export interface CopyFault {
  /** Which of the job's items. */
  readonly item: number;
  readonly reason: string;
  /**
   * `lost`: this copy does not hold the object. `stored`: it does, but the bytes around it are damaged. `malformed`: the object was made wrong, which is the same in
   * every copy. `vanished`: another process has moved it.
   */
  readonly kind: 'lost' | 'stored' | 'malformed' | 'vanished';
}

/** What a job of verifying came to. */
export interface Verdicts {
  /** For each item; undefined for what is lost. */
  readonly objects: readonly (VerifiedObject | undefined)[];
  readonly faults: readonly CopyFault[];
}

export interface VerifiedObject {
  readonly type: ObjectType;
  /** Bytes of data. */
  readonly size: number;
  /** A blob of zeros, which no cluster map should name. */
  readonly isZero: boolean;
}

/** Reads objects, and checks each against its id, its checksum in the index, and the rules for its type. */
export function verifyObjects(items: readonly ObjectToVerify[]): Verdicts {
  const faults: CopyFault[] = [];
  const objects = items.map((item, i) => {
    const add = (kind: CopyFault['kind'], reason: string) => faults.push({ item: i, kind, reason });
    try {
      const object = 'streams' in item ? verifyPacked(item, add) : verifyLoose(item, add);
      const malformed = faultOfContent(object);
      if (malformed !== undefined) add('malformed', malformed);
      const { type, data } = object;
      return { type, size: data.length, isZero: type === 'blob' && isZero(data) };
    } catch (error) {
      const failure = 'path' in item ? fromSystem(error, item.path) : fromSystem(error, 'the pack');
      if (!isImgstoreError(failure) || isOutOfResources(failure)) throw failure;
      add(failure.code === 'NOT_FOUND' ? 'vanished' : 'lost', failure.message);
      return undefined;
    }
  });
  return { objects, faults };
}

function verifyPacked(item: PackedToVerify, add: (kind: 'stored', reason: string) => void): GitObject {
  const object = readStreams(item.streams);
  verifyObject(item.id, object, 'the entry');
  if (crcOf(item) !== item.crc) add('stored', 'its bytes do not fit the CRC-32 in the index');
  return object;
}

const chunk = Buffer.allocUnsafeSlow(1 << 20);

function crcOf({ streams: { fd }, offset, end }: PackedToVerify): number {
  let crc = 0;
  for (let at = offset; at < end; ) {
    const count = readSync(fd, chunk, 0, Math.min(chunk.length, end - at), at);
    if (count === 0) return -1;
    crc = crc32(chunk.subarray(0, count), crc);
    at += count;
  }
  return crc;
}

function verifyLoose({ id, path }: LooseToVerify, add: (kind: 'stored', reason: string) => void): GitObject {
  const file = readFileSync(path);
  const header = parseObjectHeader(codecs().deflate.inflatePrefix(file));
  const total = header.length + header.size;
  if (total > MOST_OBJECT_BYTES)
    throw new ImgstoreError('DAMAGED', `says that it holds ${header.size} bytes`, { id });
  const { data, length } = inflateMeasured(file, total);
  const object = { type: header.type, data: data.subarray(header.length) };
  verifyObject(id, object, 'the file');
  if (length < file.length) add('stored', `has ${file.length - length} bytes behind its end`);
  return object;
}

/** What is wrong with an object that its id fits. */
function faultOfContent({ type, data }: GitObject): string | undefined {
  try {
    if (type === 'tree') parseTree(data);
    else if (type === 'commit') parseCommit(data);
    else if (type === 'tag') parseTag(data);
    return undefined;
  } catch (error) {
    // A name that is not UTF-8 is git's right.
    if (isImgstoreError(error, 'UNSUPPORTED')) return undefined;
    if (isImgstoreError(error)) return error.message;
    throw error;
  }
}

/** The SHA-256 of all but the last 32 bytes of a file, in hex. @throws ImgstoreError `NOT_FOUND`, `DAMAGED`, `IO`. */
export function fileChecksum(path: string): string {
  const file = new FileBytes(path);
  try {
    return Buffer.from(checksumOfBody(file)).toString('hex');
  } finally {
    file.close();
  }
}
