import { type BlockSource, readPadded } from '../../block/index.ts';
import type { DiskCipher } from '../crypto/disk-cipher.ts';
import { SECTOR } from '../meta/layout.ts';

/** The bytes of data clusters, as the guest sees them. */
export interface GuestData {
  /** Fills `into` with what lies at host offset `host` and is the guest's at `guest`. */
  read(host: number, guest: number, into: Uint8Array): Promise<void>;
  /** Where its bytes lie as they are, so that a hole there reads as zeros; undefined when they are encrypted. */
  readonly plain: BlockSource | undefined;
}

/** Data that is stored as it is. */
export class PlainData implements GuestData {
  readonly plain: BlockSource;

  constructor(host: BlockSource) {
    this.plain = host;
  }

  read(host: number, _guest: number, into: Uint8Array): Promise<void> {
    return readPadded(this.plain, host, into);
  }
}

/** Data that is encrypted sector by sector. What is beyond the file's end is decrypted as zeros are, as in QEMU. */
export class EncryptedData implements GuestData {
  readonly plain = undefined;
  readonly #host: BlockSource;
  readonly #cipher: DiskCipher;

  constructor(host: BlockSource, cipher: DiskCipher) {
    this.#host = host;
    this.#cipher = cipher;
  }

  async read(host: number, guest: number, into: Uint8Array): Promise<void> {
    const { sectors: cipher, firstSector, numbering } = this.#cipher;
    const before = guest % cipher.sectorBytes;
    const length = Math.ceil((before + into.length) / cipher.sectorBytes) * cipher.sectorBytes;
    // Ciphertext never stands in the caller's buffer; a failed read leaves nothing there that looks like data.
    const sectors = Buffer.allocUnsafe(length);
    await readPadded(this.#host, host - before, sectors);
    const numbered = numbering === 'host' ? host - before : guest - before;
    cipher.decrypt(sectors, firstSector + numbered / SECTOR);
    into.set(sectors.subarray(before, before + into.length));
  }
}
