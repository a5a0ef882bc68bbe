import type { BlockSource } from '../../block/index.ts';
import { badImage, unsupported } from '../meta/fault.ts';
import type { Qcow2Header } from '../meta/header.ts';
import { SECTOR } from '../meta/layout.ts';
import type { DiskCipher } from './disk-cipher.ts';
import { plainIvs } from './iv.ts';
import type { KeyWork } from './key-work.ts';
import type { LuksBytes } from './luks-bytes.ts';
import { openLuks } from './luks-key.ts';
import { MIN_LUKS_BYTES, readLuksHeader } from './read-luks.ts';
import { CbcCipher } from './sector-cipher.ts';

/** The old encryption takes a password as it is for a key of AES-128, cut off or filled up with zeros. */
const LEGACY_KEY_BYTES = 16;

/**
 * The cipher of an encrypted image; undefined for one that is not encrypted.
 * @param key the password's bytes. @param image the file's name, for errors.
 * @throws ImgstoreError `UNSUPPORTED` without a key and for ciphers that imgstore does not have, `WRONG_KEY` for a wrong
 * key, `BAD_IMAGE`. The old encryption cannot tell a wrong key: its disk then reads as noise.
 */
export async function openCipher(
  host: BlockSource,
  header: Qcow2Header,
  key: Uint8Array | undefined,
  work: KeyWork,
  image: string,
): Promise<DiskCipher | undefined> {
  if (header.encryption === undefined) return undefined;
  if (key === undefined) throw keyMissing(header.encryption, image);
  if (header.encryption === 'aes') {
    const aesKey = Buffer.alloc(LEGACY_KEY_BYTES);
    aesKey.set(key.subarray(0, LEGACY_KEY_BYTES));
    const sectors = new CbcCipher(aesKey, plainIvs('plain64'), SECTOR);
    return { sectors, firstSector: 0, numbering: 'guest' };
  }
  const { offset, length } = luksRange(header, host.size, image);
  const bytes: LuksBytes = { length, read: (at, into) => host.read(offset + at, into) };
  const luks = await readLuksHeader(bytes, image);
  const { sectorBytes, firstSector } = luks.segment;
  // Each cluster has a place of its own, so a sector must lie in one.
  if (sectorBytes > 2 ** header.clusterBits) {
    throw unsupported(
      image,
      `is encrypted in sectors of ${sectorBytes} bytes, which its clusters do not have`,
      {
        field: 'sector_size',
        value: sectorBytes,
      },
    );
  }
  return {
    sectors: await openLuks(key, { header: luks, bytes, work, image }),
    firstSector,
    numbering: 'host',
  };
}

/** The error for an encrypted image without a key, to be thrown. */
export function keyMissing(encryption: 'aes' | 'luks', image: string): Error {
  const kind = encryption === 'luks' ? 'LUKS' : 'AES';
  return unsupported(
    image,
    `is encrypted with ${kind}: it can be read only with its key, which commit and compare take by --key-file FILE`,
    {
      field: 'crypt_method',
      value: encryption,
    },
  );
}

/** Where the LUKS header and its key material lie, in bytes. */
function luksRange(
  { extensions: { cryptoHeader }, clusterBits }: Qcow2Header,
  fileSize: number,
  image: string,
): { readonly offset: number; readonly length: number } {
  if (cryptoHeader === undefined) {
    throw badImage(
      image,
      'is encrypted with LUKS but has no header extension that says where its header is',
      {
        field: 'encryption extension',
      },
    );
  }
  const { offset, length } = cryptoHeader;
  const bad = (field: string, value: bigint, why: string) =>
    badImage(image, `encryption extension field ${field} = ${value} ${why}`, { field, value: String(value) });
  const clusterSize = 2n ** BigInt(clusterBits);
  if (offset === 0n || offset % clusterSize !== 0n) {
    throw bad('offset', offset, `is not a multiple of ${clusterSize} above 0`);
  }
  if (length < MIN_LUKS_BYTES) throw bad('length', length, `is below ${MIN_LUKS_BYTES}`);
  if (offset + length > fileSize) {
    throw bad('offset', offset, `and length ${length} leave the file of ${fileSize} bytes`);
  }
  return { offset: Number(offset), length: Number(length) };
}
