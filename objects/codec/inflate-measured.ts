import { inflateSync } from 'node:zlib';
import { damagedStream, mostInflated } from './deflate.ts';

/** What a zlib stream holds, and how long the stream is. */
export interface MeasuredStream {
  readonly data: Uint8Array;
  /** Bytes of the stream: what lies behind it was not looked at. */
  readonly length: number;
}

/**
 * Inflates the zlib stream at the start of `bytes` and tells where it ends, which no codec needs to know where an index says it. By zlib alone.
 * @param size bytes that must come out of it
 * @throws ImgstoreError `DAMAGED` when the stream is broken, cut short, or holds more or less
 */
export function inflateMeasured(bytes: Uint8Array, size: number): MeasuredStream {
  if (size > mostInflated(bytes.length)) throw damagedStream('cut short', size);
  let made: { readonly buffer: Uint8Array; readonly engine: { readonly bytesWritten: number } };
  try {
    const options = { maxOutputLength: Math.max(size, 1), chunkSize: size + SPARE_BYTES, info: true };
    // With `info`, Node hands out the stream's state too: `bytesWritten` is the input that it has taken.
    made = inflateSync(bytes, options) as unknown as typeof made;
  } catch (error) {
    throw damagedStream((error as Error).message, size, error);
  }
  const { buffer: data, engine } = made;
  if (data.length !== size) throw damagedStream(`holds ${data.length} bytes`, size);
  return { data, length: engine.bytesWritten };
}

/** Also Node's smallest `chunkSize`. */
const SPARE_BYTES = 64;
