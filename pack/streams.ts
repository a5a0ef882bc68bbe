import { readSync } from 'node:fs';
import { codecs, type GitObject, type ObjectType } from '../objects/index.ts';
import { BaseCache } from './base-cache.ts';
import { applyDelta, deltaSizes } from './delta/apply.ts';

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
export const bases = new BaseCache();

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
  data ??= bases.get(pack, base.entry) ?? inflateBase(pack, base.entry, readStream(fd, base), base.size);
  for (const [i, delta] of deltas.entries()) {
    if (i < applied) continue;
    const step = inflate(fd, delta);
    data = i < deltas.length - 1 ? applyToBase(pack, delta.entry, data, step) : applyDelta(data, step);
  }
  return { type, data };
}

/** The data of a whole entry, which is kept for deltas. Valid until the next is kept. @throws ImgstoreError `DAMAGED` */
export function inflateBase(pack: number, entry: number, stream: Uint8Array, size: number): Uint8Array {
  const { deflate } = codecs();
  return bases.put(pack, entry, size, (into) => {
    if (into === undefined) return deflate.inflate(stream, size);
    deflate.inflateInto(stream, into);
    return into;
  });
}

/** What the delta of an entry makes of its base, which is kept for further deltas. Valid until the next is kept. @throws ImgstoreError `DAMAGED` */
export function applyToBase(pack: number, entry: number, base: Uint8Array, delta: Uint8Array): Uint8Array {
  const { result } = deltaSizes(delta);
  return bases.put(pack, entry, result, (into) => applyDelta(base, delta, into), base);
}

/** Bytes that surely hold a zlib stream of `size` bytes: the worst that an encoder does is to spend 9 bits on each byte (the fixed codes of RFC 1951). */
export function mostDeflated(size: number): number {
  return size + Math.ceil(size / 8) + 64;
}

function inflate(fd: number, stream: PackedStream): Uint8Array {
  return codecs().deflate.inflate(readStream(fd, stream), stream.size);
}

function readStream(fd: number, { offset, length }: PackedStream): Uint8Array {
  return readBytes(fd, offset, length);
}

/** Bytes of a file, until the next are read; fewer at its end. */
export function readBytes(fd: number, offset: number, length: number): Uint8Array {
  const bytes = scratch(length);
  const count = readSync(fd, bytes, 0, length, offset);
  return bytes.subarray(0, count);
}

let buffer = Buffer.alloc(0);

/** One buffer a thread for streams, as each is done with before the next is read. */
function scratch(length: number): Buffer {
  if (buffer.length < length) buffer = Buffer.allocUnsafeSlow(length);
  return buffer.subarray(0, length);
}
