import { readSync } from 'node:fs';
import { codecs, type GitObject, type ObjectType } from '../objects/index.ts';
import { BaseCache } from './base-cache.ts';
import { applyDelta } from './delta/apply.ts';

/** Where one zlib stream lies in a pack. */
export interface PackedStream {
  /** Byte at which the entry begins. */
  readonly entry: number;
  /** Byte at which its stream begins. */
  readonly offset: number;
  /** Bytes from there that surely hold all of it. */
  readonly length: number;
  /** Bytes that it inflates to. */
  readonly size: number;
}

/**
 * Where an object's bytes lie in a pack: a whole object and the deltas that lead from it to the one that is meant. Plain data, so that
 * another thread of the process can read it.
 */
export interface PackedStreams {
  /** Tells open packs apart, also when one has the descriptor of another that was closed. */
  readonly pack: number;
  readonly fd: number;
  readonly type: ObjectType;
  readonly base: PackedStream;
  /** The one against the base first; none for an object that is whole. */
  readonly deltas: readonly PackedStream[];
}

/** One a thread: chains of a pack share their bases. */
const bases = new BaseCache();

/** Reads an object; its id is not checked. @throws ImgstoreError `DAMAGED`, and the system's error when reading fails. */
export function readStreams({ pack, fd, type, base, deltas }: PackedStreams): GitObject {
  if (deltas.length === 0) return { type, data: inflate(fd, base) };
  // The highest step that is known already; the object itself is not kept, as it is rarely read twice.
  let applied = deltas.length - 1;
  let data: Uint8Array | undefined;
  for (; applied > 0 && data === undefined; applied--) {
    data = bases.get(pack, deltas[applied - 1]!.entry);
    if (data !== undefined) break;
  }
  if (data === undefined) {
    data = bases.get(pack, base.entry) ?? inflate(fd, base);
    bases.put(pack, base.entry, data);
  }
  for (const [i, delta] of deltas.entries()) {
    if (i < applied) continue;
    data = applyDelta(data, inflate(fd, delta));
    if (i < deltas.length - 1) bases.put(pack, delta.entry, data);
  }
  return { type, data };
}

/**
 * As {@link readStreams}, into memory of just the object's size, so that nothing is allocated. False for an object that is a delta or of another size, which is left to that.
 * @throws ImgstoreError `DAMAGED`, and the system's error when reading fails
 */
export function readWholeInto({ fd, base, deltas }: PackedStreams, into: Uint8Array): boolean {
  if (deltas.length > 0 || base.size !== into.length) return false;
  codecs().deflate.inflateInto(streamBytes(fd, base), into);
  return true;
}

function inflate(fd: number, stream: PackedStream): Uint8Array {
  return codecs().deflate.inflate(streamBytes(fd, stream), stream.size);
}

/** Until the next is read. */
function streamBytes(fd: number, { offset, length }: PackedStream): Uint8Array {
  const stream = scratch(length);
  const count = readSync(fd, stream, 0, length, offset);
  return stream.subarray(0, count);
}

let buffer = Buffer.alloc(0);

/** One buffer a thread for streams, as each is done with before the next is read. */
function scratch(length: number): Buffer {
  if (buffer.length < length) buffer = Buffer.allocUnsafeSlow(length);
  return buffer.subarray(0, length);
}
