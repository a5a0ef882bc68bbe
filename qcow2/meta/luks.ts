import { decodeName } from './extensions.ts';
import { badImage, unsupported } from './fault.ts';
import { HeaderFields } from './header-fields.ts';
import { SECTOR } from './layout.ts';

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
const MAGIC = Buffer.from('LUKS\xba\xbe', 'latin1');
const VERSION_AT = MAGIC.length;
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
const UUID_AT = DIGEST_ITERATIONS_AT + 4;
const UUID_BYTES = 40;
const SLOTS_AT = UUID_AT + UUID_BYTES;
const SLOTS = 8;

const SLOT_STATE_AT = 0;
const SLOT_ITERATIONS_AT = SLOT_STATE_AT + 4;
const SLOT_SALT_AT = SLOT_ITERATIONS_AT + 4;
const SLOT_OFFSET_AT = SLOT_SALT_AT + SALT_BYTES;
const SLOT_STRIPES_AT = SLOT_OFFSET_AT + 4;
const SLOT_BYTES = SLOT_STRIPES_AT + 4;

export const LUKS_HEADER_BYTES = SLOTS_AT + SLOTS * SLOT_BYTES;

const STATE_USED = 0x00ac71f3;
const STATE_UNUSED = 0x0000dead;
/** Every writer has this many. */
const STRIPES = 4000;
/** AES-256 in XTS mode has two keys of 32 bytes; nothing has more. */
const MAX_KEY_BYTES = 64;

/** A key slot that is in use: the master key, encrypted with one that is derived from a password. */
export interface LuksSlot {
  /** 0 to 7. */
  readonly index: number;
  readonly iterations: number;
  readonly salt: Uint8Array;
  /** Bytes from the start of the LUKS header. */
  readonly materialOffset: number;
  /** Bytes of the key's stripes; whole sectors are stored. */
  readonly materialLength: number;
}

/** A LUKS header, checked. */
export interface LuksHeader {
  /** As written: `aes`. */
  readonly cipherName: string;
  /** As written: `xts-plain64`. */
  readonly cipherMode: string;
  readonly hash: string;
  readonly keyBytes: number;
  readonly digest: Uint8Array;
  readonly digestSalt: Uint8Array;
  readonly digestIterations: number;
  readonly uuid: string;
  /** Those in use, in order. */
  readonly slots: readonly LuksSlot[];
}

/**
 * Parses the LUKS header of an image.
 * @param bytes at least {@link LUKS_HEADER_BYTES} of it. @param length of it with its key material.
 * @param image the file's name, for errors.
 * @throws ImgstoreError `BAD_IMAGE` naming the field; `UNSUPPORTED` for another version.
 */
export function parseLuksHeader(bytes: Uint8Array, length: number, image: string): LuksHeader {
  const fields = new HeaderFields(bytes, image, 'LUKS header');
  fields.need(LUKS_HEADER_BYTES);
  if (!MAGIC.equals(bytes.subarray(0, MAGIC.length))) {
    throw badImage(image, 'its encryption header has no LUKS magic', { field: 'magic' });
  }
  const version = fields.u16(VERSION_AT);
  if (version !== 1) {
    throw unsupported(image, `is encrypted with LUKS version ${version}: qcow2 images have version 1`, {
      field: 'version',
      value: version,
    });
  }
  const keyBytes = fields.u32(KEY_BYTES_AT);
  if (keyBytes < 1 || keyBytes > MAX_KEY_BYTES) {
    throw fields.bad('key_bytes', keyBytes, `is not within 1 to ${MAX_KEY_BYTES}`);
  }
  const text = (at: number, size = TEXT_BYTES) => decodeName(bytes.subarray(at, at + size));
  const slots: LuksSlot[] = [];
  for (let index = 0; index < SLOTS; index++) {
    const at = SLOTS_AT + index * SLOT_BYTES;
    const slot = parseSlot(bytes.subarray(at, at + SLOT_BYTES), index, keyBytes, length, image);
    if (slot !== undefined) slots.push(slot);
  }
  return {
    cipherName: text(CIPHER_NAME_AT),
    cipherMode: text(CIPHER_MODE_AT),
    hash: text(HASH_AT),
    keyBytes,
    digest: bytes.slice(DIGEST_AT, DIGEST_AT + DIGEST_BYTES),
    digestSalt: bytes.slice(DIGEST_SALT_AT, DIGEST_SALT_AT + SALT_BYTES),
    digestIterations: iterations(fields, DIGEST_ITERATIONS_AT, 'mk_digest_iterations'),
    uuid: text(UUID_AT, UUID_BYTES),
    slots,
  };
}

function parseSlot(
  bytes: Uint8Array,
  index: number,
  keyBytes: number,
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
  const materialLength = keyBytes * stripes;
  const stored = Math.ceil(materialLength / SECTOR) * SECTOR;
  if (materialOffset < LUKS_HEADER_BYTES || materialOffset > length - stored) {
    throw fields.bad('key_material_offset', sector, `leaves the encryption header of ${length} bytes`);
  }
  return {
    index,
    iterations: iterations(fields, SLOT_ITERATIONS_AT, 'iterations'),
    salt: bytes.slice(SLOT_SALT_AT, SLOT_SALT_AT + SALT_BYTES),
    materialOffset,
    materialLength,
  };
}

function iterations(fields: HeaderFields, at: number, field: string): number {
  const count = fields.u32(at);
  if (count === 0) throw fields.bad(field, count, 'is not at least 1');
  return count;
}
