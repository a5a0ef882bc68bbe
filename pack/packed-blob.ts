import { readSync } from 'node:fs';
import { codecs } from '../objects/index.ts';
import { type PackEntries, streamsAt } from './chain.ts';
import { MOST_ENTRY_HEAD_BYTES, parseEntryHead } from './entry.ts';
import { mostDeflated, readBytes, readStreams } from './streams.ts';

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
 * Reads a blob into memory of just its size; one that lies whole in the pack without allocating. False for an object of another kind or size.
 * @throws ImgstoreError `DAMAGED`, also for a delta against an object that is named by its id, and the system's error when reading fails
 */
export function readBlob(entry: PackedEntry, into: Uint8Array): boolean {
  const { fd, offset, entryEnd } = entry;
  const most = MOST_ENTRY_HEAD_BYTES + mostDeflated(into.length);
  const bytes = readBytes(fd, offset, Math.min(entryEnd - offset, most));
  const { kind, size, length } = parseEntryHead(bytes);
  if (kind === 'ofs-delta' || kind === 'ref-delta') return readDelta(entry, into);
  if (kind !== 'blob' || size !== into.length) return false;
  codecs().deflate.inflateInto(bytes.subarray(length), into);
  return true;
}

function readDelta({ pack, fd, offset, end }: PackedEntry, into: Uint8Array): boolean {
  const entries: PackEntries = { pack, fd, end, headAt: (at) => headAt(fd, at, end), find: () => undefined };
  const { type, data } = readStreams(streamsAt(entries, offset));
  if (type !== 'blob' || data.length !== into.length) return false;
  into.set(data);
  return true;
}

const head = Buffer.alloc(MOST_ENTRY_HEAD_BYTES);

function headAt(fd: number, offset: number, end: number) {
  const count = readSync(fd, head, 0, Math.min(head.length, end - offset), offset);
  return parseEntryHead(head.subarray(0, count));
}
