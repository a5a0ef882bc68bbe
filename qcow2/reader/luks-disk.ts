import { type BlockSource, checkRange, type Extent } from '../../block/index.ts';
import { KeyWork } from '../crypto/key-work.ts';
import type { LuksBytes } from '../crypto/luks-bytes.ts';
import { openLuks } from '../crypto/luks-key.ts';
import { keyMissing } from '../crypto/open-cipher.ts';
import { MIN_LUKS_BYTES, readLuksHeader } from '../crypto/read-luks.ts';
import { badImage, unsupported } from '../meta/fault.ts';
import { SECTOR } from '../meta/layout.ts';
import type { LuksHeader } from '../meta/luks-header.ts';
import { EncryptedData } from './guest-data.ts';

/** What a LUKS disk is opened with. */
export interface LuksDiskParts {
  /** The file's name, for errors; a path. */
  readonly name: string;
  /** The password's bytes. */
  readonly key?: Uint8Array | undefined;
  /** Seconds that making the key may take; 10 if not said. */
  readonly keySeconds?: number | undefined;
}

/**
 * Bytes of the decrypted disk in `host`, which no key is needed for.
 * @throws ImgstoreError `BAD_IMAGE` or `UNSUPPORTED`, naming `name` and the field.
 */
export async function luksDiskSize(host: BlockSource, name: string): Promise<number> {
  return diskSize(await readHeader(host, name), host.size, name);
}

/** A file or device that is a LUKS header, key material and one encrypted disk, decrypted. */
export class LuksDisk implements BlockSource {
  readonly size: number;
  readonly #host: BlockSource;
  readonly #data: EncryptedData;
  readonly #offset: number;

  private constructor(host: BlockSource, size: number, data: EncryptedData, offset: number) {
    this.#host = host;
    this.size = size;
    this.#data = data;
    this.#offset = offset;
  }

  /**
   * Checks the header and opens the key. On failure nothing is closed.
   * @param host the file; the disk owns it, so that closing it closes it.
   * @throws ImgstoreError `BAD_IMAGE`; `UNSUPPORTED` without a key, and for what is not read of LUKS; `WRONG_KEY`.
   */
  static async open(host: BlockSource, { name, key, keySeconds }: LuksDiskParts): Promise<LuksDisk> {
    const header = await readHeader(host, name);
    const { offset, firstSector } = header.segment;
    const size = diskSize(header, host.size, name);
    if (key === undefined) throw keyMissing('luks', name);
    const work = new KeyWork(keySeconds);
    const sectors = await openLuks(key, { header, bytes: luksBytes(host), work, image: name });
    const data = new EncryptedData(host, { sectors, firstSector, numbering: 'guest' });
    return new LuksDisk(host, size, data, offset);
  }

  /** All of it is data: a hole of the file is decrypted like anything else, and no zeros come of it. */
  async *extents(offset: number, length: number): AsyncIterable<Extent> {
    checkRange(this.size, offset, length);
    if (length > 0) yield { offset, length, kind: 'data' };
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    checkRange(this.size, offset, into.length);
    await this.#data.read(this.#offset + offset, offset, into);
  }

  close(): Promise<void> {
    return this.#host.close();
  }
}

async function readHeader(host: BlockSource, name: string): Promise<LuksHeader> {
  if (host.size < MIN_LUKS_BYTES) throw badImage(name, `has ${host.size} bytes, too few for a LUKS header`);
  return readLuksHeader(luksBytes(host), name);
}

function luksBytes(host: BlockSource): LuksBytes {
  return { length: host.size, read: (offset, into) => host.read(offset, into) };
}

/** As dm-crypt has it: whole sectors, behind the header, and as many as the header says if it does. */
function diskSize({ segment }: LuksHeader, fileSize: number, name: string): number {
  const { offset, sectorBytes } = segment;
  if (offset === 0) {
    throw unsupported(
      name,
      'is a LUKS header alone, whose disk is in another file: imgstore reads them in one',
      {
        field: 'offset',
      },
    );
  }
  const there = Math.floor(fileSize / SECTOR) * SECTOR - offset;
  const size = segment.size ?? there;
  if (there < 0 || size > there) {
    const wanted = segment.size === undefined ? '' : ` with ${segment.size} bytes`;
    throw badImage(name, `its LUKS disk at ${offset}${wanted} leaves the file of ${fileSize} bytes`, {
      field: 'offset',
      value: offset,
    });
  }
  if (size % sectorBytes !== 0) {
    throw badImage(
      name,
      `its LUKS disk of ${size} bytes does not end with a sector of ${sectorBytes} bytes`,
      {
        field: 'sector_size',
        value: sectorBytes,
      },
    );
  }
  return size;
}
