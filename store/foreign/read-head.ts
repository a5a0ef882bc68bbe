import type { RawFile } from '../../block/index.ts';

/** The bytes at an offset, as many as there are up to a length. */
export async function readUpTo(file: RawFile, offset: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(Math.max(0, Math.min(length, file.size - offset)));
  if (bytes.length > 0) await file.read(offset, bytes);
  return bytes;
}
