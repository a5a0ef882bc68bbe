import { timingSafeEqual } from 'node:crypto';
import { ImgstoreError } from '../../errors/index.ts';
import { badImage, unsupported } from '../meta/fault.ts';
import { SECTOR } from '../meta/layout.ts';
import type { LuksHeader, LuksSlot } from '../meta/luks.ts';
import { mergeStripes } from './anti-forensic.ts';
import type { CipherMaker } from './cipher-spec.ts';
import { isLuksHash, type LuksHash } from './hash.ts';
import type { KeyWork } from './key-work.ts';

/** What the key of one LUKS header is found with. */
export interface LuksParts {
  readonly header: LuksHeader;
  readonly makeCipher: CipherMaker;
  /** Reads key material, at an offset from the start of the LUKS header. */
  readonly readMaterial: (offset: number, into: Buffer) => Promise<void>;
  readonly work: KeyWork;
  /** The image's name, for errors. */
  readonly image: string;
}

/**
 * The master key that `password` opens, by the first key slot that it fits.
 * @throws ImgstoreError `WRONG_KEY` when it fits none, `UNSUPPORTED` when finding out takes too long.
 */
export async function findMasterKey(password: Uint8Array, parts: LuksParts): Promise<Buffer> {
  const { header, image } = parts;
  if (!isLuksHash(header.hash)) {
    throw unsupported(
      image,
      `its LUKS header names the hash ${JSON.stringify(header.hash)}, which imgstore does not have`,
      {
        field: 'hash',
        value: header.hash,
      },
    );
  }
  if (header.slots.length === 0) {
    throw badImage(image, 'its LUKS header has no key slot in use: no key opens it', { field: 'active' });
  }
  for (const slot of header.slots) {
    const key = await openSlot(slot, password, header.hash, parts);
    if (key !== undefined) return key;
  }
  throw new ImgstoreError(
    'WRONG_KEY',
    `${image}: the key opens none of its ${header.slots.length} LUKS key slots`,
    {
      path: image,
      slots: header.slots.length,
    },
  );
}

/** The master key if `password` fits the slot: only then the key that comes out has the digest in the header. */
async function openSlot(
  slot: LuksSlot,
  password: Uint8Array,
  hash: LuksHash,
  { header, makeCipher, readMaterial, work, image }: LuksParts,
): Promise<Buffer | undefined> {
  const { keyBytes } = header;
  const slotKey = await work.pbkdf2(password, slot.salt, slot.iterations, keyBytes, hash, {
    image,
    what: `LUKS key slot ${slot.index}`,
  });
  const material = Buffer.allocUnsafe(Math.ceil(slot.materialLength / SECTOR) * SECTOR);
  await readMaterial(slot.materialOffset, material);
  makeCipher(slotKey).decrypt(material, 0);
  const key = mergeStripes(material.subarray(0, slot.materialLength), keyBytes, hash);
  const digest = await work.pbkdf2(
    key,
    header.digestSalt,
    header.digestIterations,
    header.digest.length,
    hash,
    { image, what: "the LUKS master key's digest" },
  );
  return timingSafeEqual(digest, header.digest) ? key : undefined;
}
