import { decodeName } from './extensions.ts';
import { HeaderFields } from './header-fields.ts';
import { SECTOR, wholeSectors } from './layout.ts';
import { LUKS_MAGIC, type LuksHeader, type LuksSlot, MAX_KEY_BYTES, STRIPES } from './luks-header.ts';

/*
 * The header of LUKS version 1 (LUKS1 On-Disk Format Specification, "PHDR layout"); numbers are big-endian.
 *
 *     0  6 B   magic "LUKS\xba\xbe"      132  32 B  salt of the master key's digest
 *     6  u16   version                   164  u32   iterations of the digest
 *     8  32 B  cipher name               168  40 B  uuid
 *    40  32 B  cipher mode               208        8 key slots, each:
 *    72  32 B  hash                             0  u32   in use or not
 *   104  u32   payload offset (sectors)         4  u32   iterations
 *   108  u32   key bytes                        8  32 B  salt
 *   112  20 B  digest of the master key        40  u32   offset of the key material (sectors)
 *                                              44  u32   stripes
 */
const VERSION_AT = LUKS_MAGIC.length;
const CIPHER_NAME_AT = VERSION_AT + 2;
const TEXT_BYTES = 32;
const CIPHER_MODE_AT = CIPHER_NAME_AT + TEXT_BYTES;
const HASH_AT = CIPHER_MODE_AT + TEXT_BYTES;
const PAYLOAD_OFFSET_AT = HASH_AT + TEXT_BYTES;
const KEY_BYTES_AT = PAYLOAD_OFFSET_AT + 4;
const DIGEST_AT = KEY_BYTES_AT + 4;
const DIGEST_BYTES = 20;
const SALT_BYTES = 32;
const DIGEST_SALT_AT = DIGEST_AT + DIGEST_BYTES;
const DIGEST_ITERATIONS_AT = DIGEST_SALT_AT + SALT_BYTES;
const UUID_BYTES = 40;
const SLOTS_AT = DIGEST_ITERATIONS_AT + 4 + UUID_BYTES;
const SLOTS = 8;

const SLOT_STATE_AT = 0;
const SLOT_ITERATIONS_AT = SLOT_STATE_AT + 4;
const SLOT_SALT_AT = SLOT_ITERATIONS_AT + 4;
const SLOT_OFFSET_AT = SLOT_SALT_AT + SALT_BYTES;
const SLOT_STRIPES_AT = SLOT_OFFSET_AT + 4;
const SLOT_BYTES = SLOT_STRIPES_AT + 4;

/** Without key material. */
export const LUKS1_HEADER_BYTES = SLOTS_AT + SLOTS * SLOT_BYTES;

const STATE_USED = 0x00ac71f3;
const STATE_UNUSED = 0x0000dead;

/**
 * Parses a LUKS header of version 1.
 * @param bytes at least {@link LUKS1_HEADER_BYTES} of it. @param length of it with its key material.
 * @param image the file's name, for errors.
 * @throws ImgstoreError `BAD_IMAGE` naming the field.
 */
export function parseLuks1(bytes: Uint8Array, length: number, image: string): LuksHeader {
  const fields = new HeaderFields(bytes, image, 'LUKS header');
  fields.need(LUKS1_HEADER_BYTES);
  const text = (at: number) => decodeName(bytes.subarray(at, at + TEXT_BYTES));
  const keyBytes = fields.u32(KEY_BYTES_AT);
  if (keyBytes < 1 || keyBytes > MAX_KEY_BYTES) {
    throw fields.bad('key_bytes', keyBytes, `is not within 1 to ${MAX_KEY_BYTES}`);
  }
  const hash = text(HASH_AT);
  const shared = {
    cipher: { name: text(CIPHER_NAME_AT), mode: text(CIPHER_MODE_AT) },
    keyBytes,
    slotKeyBytes: keyBytes,
    stripesHash: hash,
    digest: {
      hash,
      digest: bytes.slice(DIGEST_AT, DIGEST_AT + DIGEST_BYTES),
      salt: bytes.slice(DIGEST_SALT_AT, DIGEST_SALT_AT + SALT_BYTES),
      iterations: iterations(fields, DIGEST_ITERATIONS_AT, 'mk_digest_iterations'),
    },
  };
  const slots: LuksSlot[] = [];
  for (let index = 0; index < SLOTS; index++) {
    const at = SLOTS_AT + index * SLOT_BYTES;
    const slot = parseSlot(bytes.subarray(at, at + SLOT_BYTES), index, shared, length, image);
    if (slot !== undefined) slots.push(slot);
  }
  const offset = fields.u32(PAYLOAD_OFFSET_AT) * SECTOR;
  return {
    segment: { cipher: shared.cipher, offset, size: undefined, sectorBytes: SECTOR, firstSector: 0 },
    slots,
  };
}

function parseSlot(
  bytes: Uint8Array,
  index: number,
  shared: Omit<LuksSlot, 'index' | 'kdf' | 'materialOffset' | 'materialLength'>,
  length: number,
  image: string,
): LuksSlot | undefined {
  const fields = new HeaderFields(bytes, image, `LUKS key slot ${index}`);
  const state = fields.u32(SLOT_STATE_AT);
  if (state === STATE_UNUSED) return undefined;
  if (state !== STATE_USED) throw fields.bad('active', state, 'is neither that of a used nor an unused slot');
  const stripes = fields.u32(SLOT_STRIPES_AT);
  if (stripes !== STRIPES) throw fields.bad('stripes', stripes, `is not ${STRIPES}`);
  const sector = fields.u32(SLOT_OFFSET_AT);
  const materialOffset = sector * SECTOR;
  const materialLength = shared.keyBytes * stripes;
  const stored = wholeSectors(materialLength);
  if (materialOffset < LUKS1_HEADER_BYTES || materialOffset > length - stored) {
    throw fields.bad('key_material_offset', sector, `leaves the encryption header of ${length} bytes`);
  }
  return {
    ...shared,
    index,
    kdf: {
      type: 'pbkdf2',
      hash: shared.stripesHash,
      iterations: iterations(fields, SLOT_ITERATIONS_AT, 'iterations'),
      salt: bytes.slice(SLOT_SALT_AT, SLOT_SALT_AT + SALT_BYTES),
    },
    materialOffset,
    materialLength,
  };
}

function iterations(fields: HeaderFields, at: number, field: string): number {
  const count = fields.u32(at);
  if (count === 0) throw fields.bad(field, count, 'is not at least 1');
  return count;
}
