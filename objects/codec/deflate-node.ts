import { constants, deflateSync, inflateSync } from 'node:zlib';
import { allocating, type DeflateCodec, damagedStream, PREFIX_STREAM_BYTES } from './deflate.ts';

/** Node's smallest `chunkSize`. */
const SPARE_BYTES = 64;

/** zlib's largest: clusters deflate 15% faster than at its default of 8, to 0.2% more. */
const MEMORY_LEVEL = 9;

const STRONGEST_LEVEL = 9;

/** zlib in C: deflates 127 MB/s a core at level 1, inflates 577 MB/s. */
export const nodeDeflate: DeflateCodec = allocating({
  name: 'node:zlib',
  packLevel: 7,

  deflate(data, level) {
    // One output buffer that any result fits into, instead of many of Node's default of 16 KiB joined at the end: less to copy and to
    // collect. Nearly any: zlib may take more for noise, which then comes in two.
    const chunkSize = data.length + Math.ceil(data.length / 1000) + SPARE_BYTES;
    return deflateSync(data, { level: Math.min(level, STRONGEST_LEVEL), chunkSize, memLevel: MEMORY_LEVEL });
  },

  inflate(stream, size) {
    let data: Uint8Array;
    try {
      // One output buffer with a little to spare: half again as fast as growing by Node's default of 16 KiB, and a tenth faster than
      // one of the exact size, behind which Node allocates a second to see whether more comes.
      data = inflateSync(stream, {
        maxOutputLength: Math.max(size, 1),
        chunkSize: size + SPARE_BYTES,
      });
    } catch (error) {
      throw damagedStream((error as Error).message, size, error);
    }
    if (data.length !== size) throw damagedStream(`holds ${data.length} bytes`, size);
    return data;
  },

  inflatePrefix(stream) {
    // Node takes no input for the start of a stream.
    if (stream.length === 0) throw damagedStream('unexpected end of file');
    try {
      return inflateSync(stream.subarray(0, PREFIX_STREAM_BYTES), { finishFlush: constants.Z_SYNC_FLUSH });
    } catch (error) {
      throw damagedStream((error as Error).message, undefined, error);
    }
  },
});
