import { ImgstoreError } from '../../errors/index.ts';
import type { BucketRange } from '../bucket/bucket.ts';
import { CHUNK, openChunk, STORED_CHUNK } from './payload.ts';
import { inPieces } from './pieces.ts';

interface Chunks {
  readonly key: Uint8Array;
  /** For messages: the object. */
  readonly where: string;
}

/** Chunks in memory, beginning with the one in which the range begins. */
export interface ChunksOfRange extends Chunks {
  readonly stored: Uint8Array;
  /** Whether the object ends with them: the last of them must then be its last. */
  readonly ended: boolean;
  /** Of the plaintext. */
  readonly range: BucketRange;
}

/**
 * The plaintext of a range, shorter where the object ends. Each chunk must be the one that is at its place, and the last of an object must
 * say so: of one that was cut, even between two chunks, nothing behind the cut passes for its end. @throws ImgstoreError `DAMAGED`.
 */
export function openRange({ key, where, stored, ended, range }: ChunksOfRange): Uint8Array {
  const first = Math.floor(range.offset / CHUNK);
  const count = Math.max(1, Math.ceil(stored.length / STORED_CHUNK));
  const skip = range.offset - first * CHUNK;
  const end = skip + range.length;
  const parts: Buffer[] = [];
  for (let i = 0; i < count; i++) {
    const chunk = stored.subarray(i * STORED_CHUNK, (i + 1) * STORED_CHUNK);
    const place = i < count - 1 ? 'inside' : ended ? 'end' : 'unknown';
    const plain = requireChunk({ key, where }, first + i, place, chunk);
    parts.push(plain.subarray(i === 0 ? skip : 0, Math.min(plain.length, end - i * CHUNK)));
  }
  // A copy also of one part: a few bytes would else keep a whole chunk in memory.
  return Buffer.concat(parts);
}

/** Chunks that come, beginning with the one that has the byte `offset` of the plaintext. */
export interface ChunksOfStream extends Chunks {
  readonly stored: AsyncIterable<Uint8Array>;
  readonly offset: number;
}

/** The plaintext from `offset` on. Nothing comes of no chunks but of those of a whole object, which has one at least. @throws ImgstoreError `DAMAGED`. */
export async function* openStream({ stored, offset, ...chunks }: ChunksOfStream): AsyncGenerator<Uint8Array> {
  let index = Math.floor(offset / CHUNK);
  let skip = offset - index * CHUNK;
  let held: Buffer | undefined;
  for await (const piece of inPieces(stored, STORED_CHUNK)) {
    if (held !== undefined) {
      yield requireChunk(chunks, index, 'inside', held).subarray(skip);
      [index, skip] = [index + 1, 0];
    }
    held = piece;
  }
  if (held === undefined && offset > 0) return;
  const last = requireChunk(chunks, index, 'end', held ?? Buffer.alloc(0)).subarray(skip);
  if (last.length > 0) yield last;
}

type Place = 'inside' | 'end' | 'unknown';

function requireChunk({ key, where }: Chunks, index: number, place: Place, stored: Uint8Array): Buffer {
  const inside = stored.length === STORED_CHUNK ? openChunk(key, index, false, stored) : undefined;
  if (inside !== undefined && place !== 'end') return inside;
  const last = place === 'inside' ? undefined : openChunk(key, index, true, stored);
  if (last !== undefined) return last;
  const isCut = inside !== undefined || (place === 'end' && stored.length < STORED_CHUNK);
  const what = isCut
    ? `is cut within its encrypted chunk ${index} or behind it, or was changed`
    : `its encrypted chunk ${index} was changed, or is another one's`;
  throw new ImgstoreError(
    'DAMAGED',
    `${where}: ${what}: put the object there again from a store that has it`,
    { chunk: index },
  );
}
