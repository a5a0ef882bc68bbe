import { codecs, ID_BYTES } from '../objects/index.ts';
import type { ByteView } from './bytes.ts';

/** Bytes that are hashed at a time. */
const CHUNK_BYTES = 1 << 20;

/** Whether the last 32 bytes are the SHA-256 of everything before: reads the whole file. @throws ImgstoreError `DAMAGED`, `IO`. */
export function checksumFits(view: ByteView): boolean {
  const computed = checksumOfBody(view);
  return view.bytes(view.size - ID_BYTES, ID_BYTES).equals(computed);
}

/** The SHA-256 of all but the last 32 bytes, where packs, their indexes and the files beside them have it. @throws ImgstoreError `DAMAGED`, `IO`. */
export function checksumOfBody(view: ByteView): Uint8Array {
  const hash = codecs().hash.create();
  const end = view.size - ID_BYTES;
  for (let at = 0; at < end; at += CHUNK_BYTES) hash.update(view.bytes(at, Math.min(CHUNK_BYTES, end - at)));
  return hash.digest();
}
