import { unsupported } from '../meta/fault.ts';
import { SECTOR } from '../meta/layout.ts';
import type { LuksCipherName } from '../meta/luks-header.ts';
import { essivIvs, type IvMaker, plainIvs } from './iv.ts';
import { CbcCipher, type SectorCipher, XtsCipher } from './sector-cipher.ts';

/** Bytes of a key of AES. */
const AES_KEY_BYTES: ReadonlySet<number> = new Set([16, 24, 32]);
/** `<mode>-<vectors>[:<hash>]`; a hash behind other vectors than essiv means nothing. */
const MODE = /^(cbc|xts)-(plain64|plain|essiv)(?::(.+))?$/;
/** The hash must make a key of AES, and this one does. */
const ESSIV_HASH = 'sha256';

/** Makes the cipher of a disk from its key. */
export type CipherMaker = (key: Uint8Array) => SectorCipher;

/**
 * The cipher that a LUKS header names.
 * @param image the file's name, for errors. @param sectorBytes that are encrypted as one.
 * @throws ImgstoreError `UNSUPPORTED` for one that imgstore does not have.
 */
export function cipherBySpec(
  { name, mode }: LuksCipherName,
  keyBytes: number,
  image: string,
  sectorBytes: number = SECTOR,
): CipherMaker {
  const [matched, block, kind, hash] = MODE.exec(mode) ?? [];
  const aesKeyBytes = block === 'xts' ? keyBytes / 2 : keyBytes;
  const known = name === 'aes' && matched !== undefined && AES_KEY_BYTES.has(aesKeyBytes);
  if (!known || (kind === 'essiv' && hash !== ESSIV_HASH)) {
    throw unsupported(
      image,
      `is encrypted with ${JSON.stringify(`${name}-${mode}`)} and a key of ${keyBytes} bytes, which imgstore does not read: decrypt it first with qemu-img convert`,
      { field: 'cipher', cipher: name, mode, keyBytes },
    );
  }
  const ivs = (key: Uint8Array): IvMaker =>
    kind === 'essiv' ? essivIvs(key, ESSIV_HASH) : plainIvs(kind === 'plain' ? 'plain' : 'plain64');
  return block === 'xts'
    ? (key) => new XtsCipher(key, ivs(key), sectorBytes)
    : (key) => new CbcCipher(key, ivs(key), sectorBytes);
}
