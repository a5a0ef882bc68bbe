import { ImgstoreError } from '../../errors/index.ts';
import { MOST_OBJECT_BYTES } from '../../objects/index.ts';
import {
  COPY,
  COPY_OFFSET_BIT,
  COPY_OFFSET_BYTES,
  COPY_SIZE_BIT,
  COPY_SIZE_BYTES,
  COPY_SIZE_OF_ZERO,
} from './layout.ts';

/** The result's size as the delta says it, before anything is allocated. @throws ImgstoreError `DAMAGED`. */
export function deltaSizes(delta: Uint8Array): {
  readonly base: number;
  readonly result: number;
  readonly at: number;
} {
  const base = readSize(delta, 0);
  const result = readSize(delta, base.at);
  return { base: base.size, result: result.size, at: result.at };
}

/** Up to so many bytes a loop is faster than a view of them. */
const MOST_BY_BYTE = 96;

/**
 * What `delta` makes of `base`.
 * @param into memory of just the result's size; new memory when not given
 * @throws ImgstoreError `DAMAGED` when a size, an offset or an instruction does not fit.
 */
export function applyDelta(base: Uint8Array, delta: Uint8Array, into?: Uint8Array): Buffer {
  const sizes = deltaSizes(delta);
  if (sizes.base !== base.length) throw damaged(`is for a base of ${sizes.base} bytes, not ${base.length}`);
  // Each byte of a delta makes one byte, or the whole base at most: a larger result is a lie.
  if (sizes.result > Math.min(delta.length * Math.max(base.length, 1), MOST_OBJECT_BYTES))
    throw damaged(`of ${delta.length} bytes says that it makes ${sizes.result}`);
  if (into !== undefined && into.length !== sizes.result)
    throw damaged(`makes ${sizes.result} bytes, not ${into.length}`);
  const result =
    into === undefined
      ? Buffer.allocUnsafe(sizes.result)
      : Buffer.from(into.buffer, into.byteOffset, into.length);
  let to = 0;
  let at = sizes.at;
  while (at < delta.length) {
    const instruction = delta[at++]!;
    if (instruction === 0) throw damaged('has the reserved instruction 0');
    if (instruction & COPY) {
      // Shifts, since powers and products of numbers alone took a fifth of the time.
      let offset = 0;
      let size = 0;
      for (let byte = 0; byte < COPY_OFFSET_BYTES; byte++)
        if (instruction & (COPY_OFFSET_BIT << byte)) offset |= delta[at++]! << (8 * byte);
      offset >>>= 0;
      for (let byte = 0; byte < COPY_SIZE_BYTES; byte++)
        if (instruction & (COPY_SIZE_BIT << byte)) size |= delta[at++]! << (8 * byte);
      if (size === 0) size = COPY_SIZE_OF_ZERO;
      if (at > delta.length) throw damaged('is cut short');
      if (offset + size > base.length)
        throw damaged(`copies ${size} bytes at ${offset} of a base of ${base.length}`);
      if (to + size > result.length) throw damaged(`makes more than ${result.length} bytes`);
      if (size <= MOST_BY_BYTE) for (const end = to + size; to < end; ) result[to++] = base[offset++]!;
      else {
        result.set(base.subarray(offset, offset + size), to);
        to += size;
      }
    } else {
      const end = to + instruction;
      if (at + instruction > delta.length) throw damaged('is cut short');
      if (end > result.length) throw damaged(`makes more than ${result.length} bytes`);
      while (to < end) result[to++] = delta[at++]!;
    }
  }
  if (to !== result.length) throw damaged(`makes ${to} bytes, not ${result.length}`);
  return result;
}

function readSize(delta: Uint8Array, start: number): { readonly size: number; readonly at: number } {
  let size = 0;
  let at = start;
  for (let scale = 1; ; scale *= 128) {
    const byte = delta[at++];
    if (byte === undefined) throw damaged('is cut short');
    size += (byte & 0x7f) * scale;
    if (!Number.isSafeInteger(size)) throw damaged('has a size beyond 2^53');
    if (!(byte & 0x80)) return { size, at };
  }
}

function damaged(reason: string): ImgstoreError {
  return new ImgstoreError('DAMAGED', `a delta ${reason}`, { reason });
}
