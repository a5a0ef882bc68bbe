import { timingSafeEqual } from 'node:crypto';
import { ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import { badImage, unsupported } from '../meta/fault.ts';
import { wholeSectors } from '../meta/layout.ts';
import type { LuksHeader, LuksSlot } from '../meta/luks-header.ts';
import { mergeStripes } from './anti-forensic.ts';
import { cipherBySpec } from './cipher-spec.ts';
import { isLuksHash, type LuksHash } from './hash.ts';
import type { KeyWork } from './key-work.ts';
import type { LuksBytes } from './luks-bytes.ts';
import type { SectorCipher } from './sector-cipher.ts';

/** What the key of one LUKS header is found with. */
export interface LuksParts {
  readonly header: LuksHeader;
  /** Where key material is read. */
  readonly bytes: LuksBytes;
  readonly work: KeyWork;
  /** The image's name, for errors. */
  readonly image: string;
}

/**
 * The cipher of the disk with the master key that `password` opens, by the first key slot that it fits.
 * @throws ImgstoreError `WRONG_KEY` when it fits none; `UNSUPPORTED` when finding out takes too long or needs what this
 * reader does not have; `BAD_IMAGE` without any slot.
 */
export async function openLuks(password: Uint8Array, parts: LuksParts): Promise<SectorCipher> {
  const { header, image } = parts;
  if (header.slots.length === 0) {
    throw badImage(image, 'its LUKS header has no key slot in use: no key opens it', { field: 'active' });
  }
  let untried: ImgstoreError | undefined;
  for (const slot of header.slots) {
    try {
      const cipher = await openSlot(slot, password, parts);
      if (cipher !== undefined) return cipher;
    } catch (error) {
      // Another slot may take the password, and do so by other means.
      if (!isImgstoreError(error, 'UNSUPPORTED')) throw error;
      untried ??= error;
    }
  }
  if (untried !== undefined) throw untried;
  throw new ImgstoreError(
    'WRONG_KEY',
    `${image}: the key opens none of its ${header.slots.length} LUKS key slots`,
    {
      path: image,
      slots: header.slots.length,
    },
  );
}

/** The disk's cipher if `password` fits the slot: only then the key that comes out has the digest in the header. */
async function openSlot(
  slot: LuksSlot,
  password: Uint8Array,
  { header: { segment }, bytes, work, image }: LuksParts,
): Promise<SectorCipher | undefined> {
  const { digest, keyBytes } = slot;
  // Before the key is made, which takes long.
  const makeDiskCipher = cipherBySpec(segment.cipher, keyBytes, image, segment.sectorBytes);
  const makeSlotCipher = cipherBySpec(slot.cipher, slot.slotKeyBytes, image);
  const stripesHash = knownHash(slot.stripesHash, image);
  const digestHash = knownHash(digest.hash, image);
  const slotKey = await deriveSlotKey(slot, password, work, image);
  const material = Buffer.allocUnsafe(wholeSectors(slot.materialLength));
  await bytes.read(slot.materialOffset, material);
  makeSlotCipher(slotKey).decrypt(material, 0);
  const key = mergeStripes(material.subarray(0, slot.materialLength), keyBytes, stripesHash);
  const found = await work.pbkdf2(key, digest.salt, digest.iterations, digest.digest.length, digestHash, {
    image,
    what: "the LUKS master key's digest",
  });
  return timingSafeEqual(found, digest.digest) ? makeDiskCipher(key) : undefined;
}

async function deriveSlotKey(
  { index, kdf, slotKeyBytes }: LuksSlot,
  password: Uint8Array,
  work: KeyWork,
  image: string,
): Promise<Uint8Array> {
  const purpose = { image, what: `LUKS key slot ${index}` };
  switch (kdf.type) {
    case 'pbkdf2': {
      const hash = knownHash(kdf.hash, image);
      return work.pbkdf2(password, kdf.salt, kdf.iterations, slotKeyBytes, hash, purpose);
    }
    case 'argon2i':
    case 'argon2id':
      return work.argon2(password, kdf, slotKeyBytes, purpose);
    case 'unknown':
      throw unsupported(
        image,
        `${purpose.what} makes its key by ${JSON.stringify(kdf.name)}, which imgstore does not have`,
        { field: 'kdf', value: kdf.name },
      );
  }
}

function knownHash(name: string, image: string): LuksHash {
  if (isLuksHash(name)) return name;
  throw unsupported(
    image,
    `its LUKS header names the hash ${JSON.stringify(name)}, which imgstore does not have`,
    {
      field: 'hash',
      value: name,
    },
  );
}
