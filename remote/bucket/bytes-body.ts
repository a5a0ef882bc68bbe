import type { RepeatableBody } from './bucket.ts';

/** Bytes in memory as a body. @param sha256 of the bytes, 64 hex digits, if it is known: then it is not computed again */
export function bytesBody(bytes: Uint8Array, sha256?: string): RepeatableBody {
  return {
    size: bytes.length,
    sha256,
    async *open() {
      yield bytes;
    },
  };
}
