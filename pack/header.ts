import { ImgstoreError } from '../errors/index.ts';
import { ID_BYTES } from '../objects/index.ts';

/**
 * The frame of a pack (git: gitformat-pack):
 *
 * ```text
 * 0   4   'PACK'
 * 4   4   version 2
 * 8   4   number of entries
 * 12  …   entries
 * −32 32  SHA-256 of everything before
 * ```
 */
export const PACK_HEADER_BYTES = 12;
export const PACK_TRAILER_BYTES = ID_BYTES;
const SIGNATURE = 0x5041434b;
const VERSION = 2;

/** A pack's first bytes. */
export function encodePackHeader(entries: number): Buffer {
  const header = Buffer.alloc(PACK_HEADER_BYTES);
  header.writeUInt32BE(SIGNATURE, 0);
  header.writeUInt32BE(VERSION, 4);
  header.writeUInt32BE(entries, 8);
  return header;
}

/** The number of entries. @throws ImgstoreError `DAMAGED`, or `UNSUPPORTED` for another version. */
export function parsePackHeader(header: Buffer): number {
  if (header.readUInt32BE(0) !== SIGNATURE)
    throw new ImgstoreError('DAMAGED', 'is no pack: it does not begin with PACK');
  const version = header.readUInt32BE(4);
  if (version !== VERSION && version !== 3)
    throw new ImgstoreError('UNSUPPORTED', `is a pack of version ${version}`, { version });
  return header.readUInt32BE(8);
}
