import { randomBytes } from 'node:crypto';
import { ImgstoreError } from '../../errors/index.ts';
import type { RepeatableBody } from '../bucket/bucket.ts';
import type { NewHeader } from './keys.ts';
import { CHUNK, chunkCount, NONCE, payloadKey, sealChunk, storedSize } from './payload.ts';
import { inPieces } from './pieces.ts';

/** Bytes in memory as an age file. */
export function sealBytes({ header, fileKey }: NewHeader, plain: Uint8Array): Uint8Array {
  const nonce = randomBytes(NONCE);
  const key = payloadKey(fileKey, nonce);
  const count = chunkCount(plain.length);
  const chunks = Array.from({ length: count }, (_, i) =>
    sealChunk(key, i, i === count - 1, plain.subarray(i * CHUNK, (i + 1) * CHUNK)),
  );
  return Buffer.concat([header, nonce, ...chunks]);
}

/**
 * A body as an age file, encrypted while it is sent. Its size is known beforehand; its hash is not, and that of the plaintext is nobody's business.
 *
 * Each attempt draws a nonce, and so has a key of its own: two attempts whose plaintexts differ, as of a file that was changed between them,
 * would under one key give the difference of the two away, and the key of the authentication.
 *
 * @param where for messages: the object
 */
export function sealedBody(newHeader: NewHeader, body: RepeatableBody, where: string): RepeatableBody {
  const size = newHeader.header.length + NONCE + storedSize(body.size);
  return { size, open: () => sealStream(newHeader, body, where) };
}

async function* sealStream(
  { header, fileKey }: NewHeader,
  body: RepeatableBody,
  where: string,
): AsyncGenerator<Uint8Array> {
  const nonce = randomBytes(NONCE);
  const key = payloadKey(fileKey, nonce);
  const last = chunkCount(body.size) - 1;
  yield Buffer.concat([header, nonce]);
  let bytes = 0;
  let index = 0;
  for await (const piece of inPieces(body.open(), CHUNK)) {
    bytes += piece.length;
    // Never more than the size that was said: the request has been given it as its length.
    if (bytes > body.size) break;
    yield sealChunk(key, index, index === last, piece);
    index += 1;
  }
  if (bytes !== body.size) {
    throw new ImgstoreError(
      'IN_USE',
      `${where}: what is put has other than the ${body.size} bytes that it had: it changed while it was sent; try again`,
    );
  }
  if (index === 0) yield sealChunk(key, 0, true, new Uint8Array());
}
