import { ImgstoreError } from '../errors/index.ts';
import { codecs } from '../objects/index.ts';
import { MOST_DEPTH, streamBound } from './chain.ts';
import { applyDelta, deltaSizes } from './delta/apply.ts';
import { type EntryHead, MOST_ENTRY_HEAD_BYTES, parseEntryHead } from './entry.ts';
import { PACK_HEADER_BYTES } from './header.ts';
import { applyToBase, bases, inflateBase, mostDeflated, readBytes } from './streams.ts';

/** Where an entry begins in an open pack, whatever it is. Plain data, so that another thread of the process can read it. */
export interface PackedEntry {
  /** Tells open packs apart. */
  readonly pack: number;
  readonly fd: number;
  readonly offset: number;
  /** Byte behind the pack's last entry. */
  readonly end: number;
  /** Byte behind this entry, or some byte behind that. */
  readonly entryEnd: number;
}

/**
 * Read at a time of an entry whose end is not known: most entries of clusters are shorter. A call of the system takes 20 µs, wherever it reads and up to so many bytes.
 */
const GUESSED_BYTES = 32 * 1024;

/**
 * Reads a blob into memory of just its size; one that lies whole in the pack without allocating. False for an object of another kind or size, and for a delta against an object that is named by its id.
 * @throws ImgstoreError `DAMAGED`, and the system's error when reading fails
 */
export function readBlob(entry: PackedEntry, into: Uint8Array): boolean {
  const { fd, offset, entryEnd } = entry;
  const most = MOST_ENTRY_HEAD_BYTES + mostDeflated(into.length);
  const bytes = readBytes(fd, offset, Math.min(entryEnd - offset, most));
  const head = parseEntryHead(bytes);
  if (head.kind === 'ofs-delta') return readDelta(entry, { head, bytes, until: entryEnd }, into);
  if (head.kind !== 'blob' || head.size !== into.length) return false;
  codecs().deflate.inflateInto(bytes.subarray(head.length), into);
  return true;
}

/** The beginning of an entry. */
interface ReadEntry {
  readonly head: EntryHead;
  /** With the head; valid until the next are read. */
  readonly bytes: Uint8Array;
  /** Byte at which it has ended at the latest. */
  readonly until: number;
}

/** As {@link readBlob}: the deltas are gathered on the way down to a base that is known, or whole, and applied on the way up. */
function readDelta(entry: PackedEntry, first: ReadEntry, into: Uint8Array): boolean {
  const { pack, offset } = entry;
  const deltas: { readonly offset: number; readonly data: Uint8Array }[] = [];
  let at = offset;
  let base: Uint8Array | undefined;
  for (let { head, bytes, until } = first; base === undefined; ) {
    const stream = readStream(entry.fd, at, { head, bytes, until });
    deltas.push({ offset: at, data: codecs().deflate.inflate(stream, head.size) });
    // Whoever looks again says what is wrong with it.
    if (deltas.length > MOST_DEPTH) return false;
    at -= head.distance!;
    if (head.distance === 0 || at < PACK_HEADER_BYTES) throw damagedBase(at);
    base = bases.get(pack, at);
    if (base !== undefined) break;
    until = entry.end;
    bytes = readBytes(entry.fd, at, Math.min(until - at, GUESSED_BYTES));
    head = parseEntryHead(bytes);
    if (head.kind === 'ofs-delta') continue;
    if (head.kind !== 'blob') return false;
    base = inflateBase(pack, at, readStream(entry.fd, at, { head, bytes, until }), head.size);
  }
  for (let i = deltas.length - 1; i > 0; i--) {
    const { offset, data } = deltas[i]!;
    base = applyToBase(pack, offset, base, data);
  }
  const { data } = deltas[0]!;
  if (deltaSizes(data).result !== into.length) return false;
  applyDelta(base, data, into);
  return true;
}

/** The zlib stream of an entry, of which more is read where the beginning is not all. */
function readStream(fd: number, at: number, { head, bytes, until }: ReadEntry): Uint8Array {
  const { size, length } = head;
  const most = streamBound(at + length, size, until);
  const stream = bytes.subarray(length, length + most);
  const isAll = stream.length === most || bytes.length === until - at;
  return isAll ? stream : readBytes(fd, at + length, most);
}

function damagedBase(offset: number): ImgstoreError {
  const reason = `its base would begin at ${offset}`;
  return new ImgstoreError('DAMAGED', reason, { reason });
}
