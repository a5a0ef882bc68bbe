import { ImgstoreError } from '../errors/index.ts';
import { MOST_OBJECT_BYTES, mostInflated, type ObjectId, type ObjectType } from '../objects/index.ts';
import type { EntryHead } from './entry.ts';
import { PACK_HEADER_BYTES } from './header.ts';
import { mostDeflated, type PackedStream, type PackedStreams } from './streams.ts';

/** git's own limit (`MAX_DEPTH` of pack-objects). */
export const MOST_DEPTH = 4095;

/** An entry with its place. */
export interface Entry extends EntryHead {
  readonly offset: number;
}

/** The entries of an open pack. */
export interface PackEntries {
  /** Tells open packs apart. */
  readonly pack: number;
  readonly fd: number;
  /** Byte behind the last entry. */
  readonly end: number;
  /** The head of the entry that begins at an offset within the pack. @throws ImgstoreError `DAMAGED` */
  headAt(offset: number): EntryHead;
  /** Offset of the entry of an object that a delta is against; undefined when it is not in the pack. */
  find(id: ObjectId): number | undefined;
}

/** The entry at an offset. @throws ImgstoreError `DAMAGED` */
export function entryAt(entries: PackEntries, offset: number): Entry {
  if (offset < PACK_HEADER_BYTES || offset >= entries.end)
    throw damaged(`its place ${offset} is outside of the pack`);
  return { ...entries.headAt(offset), offset };
}

/** The entry, its base, that one's base, …, down to a whole object. @throws ImgstoreError `DAMAGED` for a circle. */
export function* stepsToBase(entries: PackEntries, first: Entry): Generator<Entry> {
  const seen = new Set<number>();
  for (let entry = first; ; ) {
    if (seen.has(entry.offset) || seen.size > MOST_DEPTH) throw damaged('its chain of deltas never ends');
    seen.add(entry.offset);
    yield entry;
    if (entry.kind === 'ofs-delta') {
      entry = entryAt(entries, entry.offset - entry.distance!);
    } else if (entry.kind === 'ref-delta') {
      const base = entries.find(entry.base!);
      if (base === undefined) throw damaged(`its base ${entry.base} is not in the pack`);
      entry = entryAt(entries, base);
    } else {
      return;
    }
  }
}

/** Where the bytes of the object at an offset lie. @throws ImgstoreError `DAMAGED` */
export function streamsAt(entries: PackEntries, offset: number): PackedStreams {
  const chain = [...stepsToBase(entries, entryAt(entries, offset))].reverse();
  const [base, ...deltas] = chain.map((entry) => streamOf(entry, entries.end));
  const { pack, fd } = entries;
  return { pack, fd, type: chain[0]!.kind as ObjectType, base: base!, deltas };
}

function streamOf({ offset, length, size }: Entry, end: number): PackedStream {
  const start = offset + length;
  return { entry: offset, offset: start, length: streamBound(start, size, end), size };
}

/** Bytes from `start` that surely hold a zlib stream of `size` bytes, which never reaches past the pack's last entry. @throws ImgstoreError `DAMAGED` */
export function streamBound(start: number, size: number, end: number): number {
  const room = end - start;
  if (room <= 0 || size > Math.min(mostInflated(room), MOST_OBJECT_BYTES))
    throw damaged(`it says that it holds ${size} bytes`);
  return Math.min(room, mostDeflated(size));
}

function damaged(reason: string): ImgstoreError {
  return new ImgstoreError('DAMAGED', reason, { reason });
}
