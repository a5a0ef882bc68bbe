import { ImgstoreError } from '../../errors/index.ts';

/**
 * One implementation of the zlib format (RFC 1950 around RFC 1951). Streams differ between implementations and
 * levels; what they inflate to does not. One conformance suite runs over all.
 */
export interface DeflateCodec {
  readonly name: string;
  /** The level for packs: the strongest that leaves packing at 30 MB of clusters a second on two cores. */
  readonly packLevel: number;
  /** A whole zlib stream of `data`. `level` is 0 (stored) to 12; a codec that has fewer takes its strongest. */
  deflate(data: Uint8Array, level: number): Uint8Array;
  /**
   * As {@link DeflateCodec.deflate}, into memory that is there already: a new one for each stream costs as much as a fifth of the work. Returns the stream's length.
   * @param into room for `deflateRoom(data.length)`
   */
  deflateInto(data: Uint8Array, level: number, into: Uint8Array): number;
  /**
   * The `size` bytes that the zlib stream at the start of `stream` holds. Bytes behind its end are ignored, as a pack
   * holds streams whose length is written nowhere.
   * @throws ImgstoreError `DAMAGED` when the stream is broken, cut short, or holds more or less than `size` bytes.
   */
  inflate(stream: Uint8Array, size: number): Uint8Array;
  /** As {@link DeflateCodec.inflate}, into memory of just that size; after a failure there may be anything in it. */
  inflateInto(stream: Uint8Array, into: Uint8Array): void;
  /**
   * The first bytes that the start of a zlib stream holds: as many as {@link PREFIX_STREAM_BYTES} of it give.
   * @throws ImgstoreError `DAMAGED` when they are no zlib stream.
   */
  inflatePrefix(stream: Uint8Array): Uint8Array;
}

/** A codec whose library can only return memory of its own: it is copied into what was given. */
export function allocating(codec: Omit<DeflateCodec, 'deflateInto' | 'inflateInto'>): DeflateCodec {
  return {
    ...codec,
    deflateInto(data, level, into) {
      const stream = codec.deflate(data, level);
      into.set(stream);
      return stream.length;
    },
    inflateInto: (stream, into) => into.set(codec.inflate(stream, into.length)),
  };
}

/**
 * How much of a stream {@link DeflateCodec.inflatePrefix} looks at. A dynamic block says nothing before its tables are complete: up to
 * 316 code lengths of 7 bits and what encodes them, 290 bytes (RFC 1951 section 3.2.7); the headers wanted take 45 more. Deflate expands at most 1032
 * times, so the answer is at most 528 KB whatever the stream says.
 */
export const PREFIX_STREAM_BYTES = 512;

/**
 * Room for any stream of `length` bytes that a codec makes, whatever the data. zlib's own bound is the largest: with its largest memory it may take 9 bits for each byte
 * (deflateBound's `fixedlen`, an eighth, a 256th and a 512th more).
 */
export function deflateRoom(length: number): number {
  return length + Math.ceil(length / 7) + SPARE_BYTES;
}

/** What stands around the data even of an empty stream, rounded up. */
const SPARE_BYTES = 64;

/** The most that `length` bytes of a zlib stream can hold: no size beyond it is worth allocating. */
export function mostInflated(length: number): number {
  return length * 1032;
}

/** The error that every codec throws for a stream it cannot take; `size` is what was to come out of it. */
export function damagedStream(reason: string, size?: number, cause?: unknown): ImgstoreError {
  const wanted = size === undefined ? '' : ` (${size} bytes were to come)`;
  return new ImgstoreError(
    'DAMAGED',
    `deflated data is not valid: ${reason}${wanted}`,
    { reason, size },
    cause,
  );
}
