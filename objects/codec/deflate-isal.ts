import { createRequire } from 'node:module';
import { type DeflateCodec, deflateRoom } from './deflate.ts';
import { nodeDeflate } from './deflate-node.ts';

/** File names of the shared library (Debian: libisal2). */
const LIBRARIES = ['libisal.so.2', 'libisal.so', 'libisal.dylib', '/opt/homebrew/lib/libisal.dylib'];

/**
 * The level at which this comes in, zlib's fastest. Clusters of a Debian disk, one core: ISA-L's level 2 543 MB/s, 228 MB; libdeflate's level 1 198 MB/s, 224 MB; ISA-L's level 0 is
 * a sixth faster and makes streams 12% longer, its level 3 half as fast and 1% shorter.
 */
const LEVEL = 1;
const ISAL_LEVEL = 2;

/** Data longer than this is left to the other codec: the largest cluster fits. */
const MOST_BYTES = 2 * 1024 * 1024;

/** Data shorter than this may lie in V8's heap, where it moves. */
const LEAST_BYTES = 1024;

/**
 * Head of `struct isal_zstream` (igzip_lib.h), which is the same in all versions of the library's interface 2; offsets in bytes on 64-bit machines.
 *
 * ```text
 * 0   8  next_in         24  4  avail_out       44  4  level_buf_size  58  2  flush
 * 8   4  avail_in        28  4  total_out       48  8  level_buf       60  2  gzip_flag
 * 16  8  next_out        40  4  level           56  2  end_of_stream   64     state
 * ```
 */
const NEXT_IN = 0;
const AVAIL_IN = 8;
const NEXT_OUT = 16;
const AVAIL_OUT = 24;
const TOTAL_OUT = 28;
const LEVEL_AT = 40;
const LEVEL_BUF_SIZE = 44;
const LEVEL_BUF = 48;
const END_OF_STREAM = 56;
const FLUSH = 58;
const GZIP_FLAG = 60;

/** `IGZIP_ZLIB`: with zlib's header and checksum. */
const ZLIB_FORMAT = 3;
/** `COMP_OK` */
const DONE = 0;

/** The struct has 82384 bytes, what level 2 works in 331776. */
const STATE_BYTES = 512 * 1024;
const WORK_BYTES = 512 * 1024;

/** The functions of igzip_lib.h that are used, and where memory lies that it and this see both. */
interface Library {
  init(stream: Uint8Array): void;
  deflate(stream: Uint8Array): number;
  address(bytes: Uint8Array): bigint;
}

/**
 * Intel's ISA-L where the system has it: deflates at the fastest level 2.7 times as fast as libdeflate. All else is left to another codec. Undefined when koffi or the library is missing, or
 * when what it makes is not what went in.
 */
export function loadIsal(rest: DeflateCodec): DeflateCodec | undefined {
  const library = openLibrary();
  if (library === undefined) return undefined;
  const codec = makeCodec(library, rest);
  return works(codec) ? codec : undefined;
}

/** A library of another layout would be found out here. */
function works(codec: DeflateCodec): boolean {
  const data = Buffer.from(Array.from({ length: 5000 }, (_, i) => (i * i) >> 5));
  try {
    return Buffer.compare(nodeDeflate.inflate(codec.deflate(data, LEVEL), data.length), data) === 0;
  } catch {
    return false;
  }
}

function makeCodec(library: Library, rest: DeflateCodec): DeflateCodec {
  const memory = Buffer.allocUnsafeSlow(STATE_BYTES + WORK_BYTES);
  const head = new DataView(memory.buffer, memory.byteOffset, STATE_BYTES);
  const work = library.address(memory) + BigInt(STATE_BYTES);
  // One room for all streams, of which only what is used is copied.
  let scratch = Buffer.alloc(0);
  const littleEndian = true;
  /** Returns the length of the stream; undefined when it is left to the other codec. */
  const compress = (data: Uint8Array, level: number, into: Uint8Array): number | undefined => {
    if (level !== LEVEL || data.length > MOST_BYTES || data.length < LEAST_BYTES) return undefined;
    library.init(memory);
    head.setBigUint64(NEXT_IN, library.address(data), littleEndian);
    head.setUint32(AVAIL_IN, data.length, littleEndian);
    head.setBigUint64(NEXT_OUT, library.address(into), littleEndian);
    head.setUint32(AVAIL_OUT, into.length, littleEndian);
    head.setUint32(LEVEL_AT, ISAL_LEVEL, littleEndian);
    head.setUint32(LEVEL_BUF_SIZE, WORK_BYTES, littleEndian);
    head.setBigUint64(LEVEL_BUF, work, littleEndian);
    head.setUint16(END_OF_STREAM, 1, littleEndian);
    head.setUint16(FLUSH, 0, littleEndian);
    head.setUint16(GZIP_FLAG, ZLIB_FORMAT, littleEndian);
    return library.deflate(memory) === DONE ? head.getUint32(TOTAL_OUT, littleEndian) : undefined;
  };
  return {
    ...rest,
    name: `isal+${rest.name}`,

    deflate(data, level) {
      const room = deflateRoom(data.length);
      if (scratch.length < room) scratch = Buffer.allocUnsafeSlow(room);
      const length = compress(data, level, scratch);
      return length === undefined ? rest.deflate(data, level) : Buffer.from(scratch.subarray(0, length));
    },

    deflateInto(data, level, into) {
      return compress(data, level, into) ?? rest.deflateInto(data, level, into);
    },
  };
}

function openLibrary(): Library | undefined {
  for (const name of LIBRARIES) {
    try {
      const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
      const library = koffi.load(name);
      const init = library.func('void isal_deflate_stateless_init(void *stream)');
      const deflate = library.func('int isal_deflate_stateless(void *stream)');
      return { init, deflate, address: koffi.address } as Library;
    } catch {
      // not under this name, or no koffi: the next, in the end none
    }
  }
  return undefined;
}
