import { badImage, unsupported } from '../meta/fault.ts';
import { LUKS_MAGIC, type LuksHeader } from '../meta/luks-header.ts';
import { LUKS1_HEADER_BYTES, parseLuks1 } from '../meta/luks1.ts';
import { parseLuks2 } from '../meta/luks2.ts';
import type { LuksBytes } from './luks-bytes.ts';
import { readLuks2Copies } from './luks2-copies.ts';

/** Shorter ones have no LUKS header of any version. */
export const MIN_LUKS_BYTES = LUKS1_HEADER_BYTES;

/**
 * Reads a LUKS header of any version.
 * @param bytes at least {@link MIN_LUKS_BYTES}. @param image the file's name, for errors.
 * @throws ImgstoreError `BAD_IMAGE` naming the field; `UNSUPPORTED` for an unknown version and what is not read of version 2.
 */
export async function readLuksHeader(bytes: LuksBytes, image: string): Promise<LuksHeader> {
  const head = Buffer.allocUnsafe(LUKS1_HEADER_BYTES);
  await bytes.read(0, head);
  if (!LUKS_MAGIC.equals(head.subarray(0, LUKS_MAGIC.length))) {
    throw badImage(image, 'its encryption header has no LUKS magic', { field: 'magic' });
  }
  const version = head.readUInt16BE(LUKS_MAGIC.length);
  if (version === 1) return parseLuks1(head, bytes.length, image);
  if (version === 2) {
    const { json, size } = await readLuks2Copies(bytes, image);
    return parseLuks2(json, size, bytes.length, image);
  }
  throw unsupported(image, `is encrypted with LUKS version ${version}: imgstore reads versions 1 and 2`, {
    field: 'version',
    value: version,
  });
}
