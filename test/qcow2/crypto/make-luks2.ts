import { createHash, pbkdf2Sync } from 'node:crypto';
import { noise } from '../qemu.ts';
import { encryptXts, split } from './make-luks.ts';

export const COPY_BYTES = 16384;
const BINARY_BYTES = 4096;
const MATERIAL_BYTES = 256_000;
export const MATERIAL_AT = 2 * COPY_BYTES;

/** What a copy of a header may have of its own. */
export interface CopyPlan {
  readonly sequence?: bigint;
  /** What to do before the checksum is made. */
  readonly before?: (copy: Buffer) => void;
}

/** One copy of a LUKS2 header with a checksum that is right. */
export function luks2Copy(
  json: string | Buffer,
  offset: number,
  plan: CopyPlan = {},
  size = COPY_BYTES,
): Buffer {
  const copy = Buffer.alloc(size);
  copy.write(offset === 0 ? 'LUKS\xba\xbe' : 'SKUL\xba\xbe', 'latin1');
  copy.writeUInt16BE(2, 6);
  copy.writeBigUInt64BE(BigInt(size), 8);
  copy.writeBigUInt64BE(plan.sequence ?? 3n, 16);
  copy.write('sha256', 72);
  copy.write('0b2c6c7e-1111-4222-8333-944445555666', 168);
  copy.writeBigUInt64BE(BigInt(offset), 256);
  Buffer.from(json).copy(copy, BINARY_BYTES);
  plan.before?.(copy);
  createHash('sha256').update(copy).digest().copy(copy, 448);
  return copy;
}

/** The JSON of a header with one key slot by PBKDF2, and the key material of it. */
export function luks2Parts(
  password: Buffer,
  masterKey: Buffer,
): { readonly json: Json; readonly material: Buffer } {
  const salt = noise(32, 5);
  const digestSalt = noise(32, 6);
  const material = Buffer.alloc(MATERIAL_BYTES);
  split(masterKey, 'sha256').copy(material);
  encryptXts(material, pbkdf2Sync(password, salt, 10, 64, 'sha256'));
  const json = {
    keyslots: {
      '0': {
        type: 'luks2',
        key_size: masterKey.length,
        af: { type: 'luks1', stripes: 4000, hash: 'sha256' },
        area: {
          type: 'raw',
          offset: String(MATERIAL_AT),
          size: String(MATERIAL_BYTES),
          encryption: 'aes-xts-plain64',
          key_size: 64,
        },
        kdf: { type: 'pbkdf2', hash: 'sha256', iterations: 10, salt: salt.toString('base64') },
      },
    },
    tokens: {},
    segments: {
      '0': {
        type: 'crypt',
        offset: '16777216',
        size: 'dynamic',
        iv_tweak: '0',
        encryption: 'aes-xts-plain64',
        sector_size: 512,
      },
    },
    digests: {
      '0': {
        type: 'pbkdf2',
        keyslots: ['0'],
        segments: ['0'],
        hash: 'sha256',
        iterations: 10,
        salt: digestSalt.toString('base64'),
        digest: pbkdf2Sync(masterKey, digestSalt, 10, 32, 'sha256').toString('base64'),
      },
    },
    config: { json_size: String(COPY_BYTES - BINARY_BYTES), keyslots_size: '16744448' },
  };
  return { json, material };
}

/** A JSON object, to be changed. */
// biome-ignore lint/suspicious/noExplicitAny: tests put anything anywhere
export type Json = Record<string, any>;

/** Both copies with the key material behind them. */
export function makeLuks2(json: string, material: Buffer): Buffer {
  return Buffer.concat([luks2Copy(json, 0), luks2Copy(json, COPY_BYTES), material]);
}
