import { createRequire } from 'node:module';
import {
  allocating,
  type DeflateCodec,
  damagedStream,
  mostInflated,
  PREFIX_STREAM_BYTES,
} from './deflate.ts';

type Level = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9;

const STRONGEST_LEVEL = 9;

type Pako = typeof import('pako');

let loaded: Pako | undefined;

/** Loaded when first used, which is seldom: as a second opinion only. */
function pako(): Pako {
  loaded ??= createRequire(import.meta.url)('pako') as Pako;
  return loaded;
}

/** zlib in JavaScript: deflates 49 MB/s a core at level 1, runs anywhere, and is the oracle for the native one. */
export const pakoDeflate: DeflateCodec = allocating({
  name: 'pako',
  packLevel: 6,

  deflate(data, level) {
    return pako().deflate(data, { level: Math.min(level, STRONGEST_LEVEL) as Level });
  },

  inflate(stream, size) {
    // One byte more than the size, so that a stream that holds more shows it.
    const { status, data, message } = inflateInto(stream, size + 1);
    if (data.length > size) throw damagedStream('holds more data', size);
    if (status !== pako().Z_STREAM_END) throw damagedStream(message || 'unexpected end of file', size);
    if (data.length < size) throw damagedStream(`holds ${data.length} bytes`, size);
    return data;
  },

  inflatePrefix(stream) {
    const start = stream.subarray(0, PREFIX_STREAM_BYTES);
    const { status, data, message } = inflateInto(start, mostInflated(start.length));
    if (status !== pako().Z_OK && status !== pako().Z_STREAM_END)
      throw damagedStream(message || 'not a zlib stream');
    return data;
  },
});

/** Inflates what `stream` gives, at most `room` bytes of it. */
function inflateInto(stream: Uint8Array, room: number) {
  const { Z_SYNC_FLUSH, ZStream, zlibInflate, zlibInflateInit } = pako();
  const z = new ZStream();
  zlibInflateInit(z);
  z.input = stream;
  z.avail_in = stream.length;
  z.output = new Uint8Array(room);
  z.avail_out = room;
  const status = zlibInflate(z, Z_SYNC_FLUSH);
  return { status, data: z.output.subarray(0, z.total_out), message: z.msg };
}
