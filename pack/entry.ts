import { ImgstoreError } from '../errors/index.ts';
import { ID_BYTES, idFromBytes, type ObjectId, type ObjectType } from '../objects/index.ts';

/**
 * The head of an entry in a pack (git: gitformat-pack, "pack-*.pack files have the following format"):
 *
 * ```text
 * byte 0       1 bit: more follows | 3 bits: type | 4 bits: size, lowest bits
 * bytes 1 …    1 bit: more follows | 7 bits: size, next higher
 * OFS_DELTA    then the distance back to the base, 7 bits a byte, highest first, each further byte adding 1
 * REF_DELTA    then the 32 bytes of the base's id
 * ```
 * The size is that of the inflated data: the object's, or the delta's.
 */
export const TYPE_NUMBERS = { commit: 1, tree: 2, blob: 3, tag: 4 } as const;
const OFS_DELTA = 6;
const REF_DELTA = 7;

const TYPE_NAMES: Readonly<Record<number, ObjectType>> = { 1: 'commit', 2: 'tree', 3: 'blob', 4: 'tag' };

/** Bytes that hold any head: 8 for a size below 2^53, 32 for an id, and some to see that it ends. */
export const MOST_ENTRY_HEAD_BYTES = 10 + ID_BYTES;

/** What stands before an entry's zlib stream. */
export interface EntryHead {
  /** A whole object's type, or what the delta is against. */
  readonly kind: ObjectType | 'ofs-delta' | 'ref-delta';
  /** Bytes that the zlib stream inflates to. */
  readonly size: number;
  /** Bytes of the head: the stream begins there. */
  readonly length: number;
  /** For `ofs-delta`: how many bytes before this entry its base begins. */
  readonly distance?: number;
  /** For `ref-delta`. */
  readonly base?: ObjectId;
}

/** The head of a whole object's entry. */
export function encodeEntryHead(type: ObjectType, size: number): Buffer {
  return Buffer.from(typeAndSize(TYPE_NUMBERS[type], size));
}

/** The head of a delta whose base begins `distance` bytes before it. `size` is the delta's own. */
export function encodeOfsDeltaHead(size: number, distance: number): Buffer {
  // Highest 7 bits first; each further byte adds 1, so that no distance has two spellings.
  const back = [distance % 128];
  for (let rest = Math.floor(distance / 128); rest > 0; rest = Math.floor(rest / 128)) {
    rest -= 1;
    back.unshift((rest % 128) | 0x80);
  }
  return Buffer.from([...typeAndSize(OFS_DELTA, size), ...back]);
}

function typeAndSize(type: number, size: number): number[] {
  const bytes = [(type << 4) | (size & 0x0f)];
  // Divided, not shifted: sizes may pass 2^31.
  for (let rest = Math.floor(size / 16); rest > 0; rest = Math.floor(rest / 128)) {
    bytes[bytes.length - 1]! |= 0x80;
    bytes.push(rest % 128);
  }
  return bytes;
}

/**
 * Parses the head at the start of `bytes`.
 * @throws ImgstoreError `DAMAGED` when it is cut short, of an unknown type, or a number passes 2^53.
 */
export function parseEntryHead(bytes: Uint8Array): EntryHead {
  let at = 0;
  const next = () => {
    const byte = bytes[at++];
    if (byte === undefined) throw damagedHead('is cut short');
    return byte;
  };
  let byte = next();
  const type = (byte >> 4) & 7;
  let size = byte & 0x0f;
  for (let scale = 16; byte & 0x80; scale *= 128) {
    byte = next();
    size += (byte & 0x7f) * scale;
    if (!Number.isSafeInteger(size)) throw damagedHead('has a size beyond 2^53');
  }
  if (type === OFS_DELTA) {
    byte = next();
    let distance = byte & 0x7f;
    while (byte & 0x80) {
      byte = next();
      distance = (distance + 1) * 128 + (byte & 0x7f);
      if (!Number.isSafeInteger(distance)) throw damagedHead('has a base beyond 2^53');
    }
    return { kind: 'ofs-delta', size, length: at, distance };
  }
  if (type === REF_DELTA)
    return { kind: 'ref-delta', size, length: at + ID_BYTES, base: idFromBytes(bytes, at) };
  const kind = TYPE_NAMES[type];
  if (kind === undefined) throw damagedHead(`has type ${type}`);
  return { kind, size, length: at };
}

function damagedHead(reason: string): ImgstoreError {
  return new ImgstoreError('DAMAGED', `an entry ${reason}`, { reason });
}
