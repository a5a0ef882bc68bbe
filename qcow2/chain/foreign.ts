import { extname } from 'node:path';
import type { RawFile } from '../../block/index.ts';
import { badImage } from '../meta/fault.ts';

/** Formats that are told from others but not read here, by what qemu-img calls them. `vpc` is VHD. */
export const FOREIGN_FORMATS = ['vmdk', 'vdi', 'vpc', 'vhdx', 'qed', 'parallels'] as const;
export type ForeignFormat = (typeof FOREIGN_FORMATS)[number];

/** A format that the file named by the user has. `guessed`: by content alone, under a name that does not say so. */
export interface FoundForeign {
  readonly format: ForeignFormat;
  readonly guessed: boolean;
}

interface Signature {
  readonly format: ForeignFormat;
  readonly at: number;
  readonly bytes: Uint8Array;
}

const SIGNATURES: readonly Signature[] = [
  { format: 'vmdk', at: 0, bytes: Buffer.from('KDMV') },
  { format: 'vmdk', at: 0, bytes: Buffer.from('COWD') },
  { format: 'vmdk', at: 0, bytes: Buffer.from('# Disk DescriptorFile') },
  { format: 'vdi', at: 0x40, bytes: Buffer.from([0x7f, 0x10, 0xda, 0xbe]) },
  { format: 'vpc', at: 0, bytes: Buffer.from('conectix') },
  { format: 'vhdx', at: 0, bytes: Buffer.from('vhdxfile') },
  { format: 'qed', at: 0, bytes: Buffer.from('QED\0') },
  { format: 'parallels', at: 0, bytes: Buffer.from('WithoutFreeSpace') },
  { format: 'parallels', at: 0, bytes: Buffer.from('WithouFreSpacExt') },
];

/** Enough for every signature. */
const PROBE_BYTES = 512;

const ENDINGS: Readonly<Record<ForeignFormat, readonly string[]>> = {
  vmdk: ['.vmdk'],
  vdi: ['.vdi'],
  vpc: ['.vhd', '.vpc'],
  vhdx: ['.vhdx'],
  qed: ['.qed'],
  parallels: ['.parallels', '.hds', '.hdd'],
};

/** Endings of raw disks. */
export const RAW_ENDINGS: ReadonlySet<string> = new Set(['.raw', '.img', '.bin', '.iso', '.dd']);

const VHD_FOOTER_BYTES = 512;

/** The format whose signature a file begins with. */
export function foreignSignature(head: Uint8Array): ForeignFormat | undefined {
  return SIGNATURES.find(({ at, bytes }) => Buffer.compare(head.subarray(at, at + bytes.length), bytes) === 0)
    ?.format;
}

/**
 * The foreign format of the file that the user named as `path`, or undefined when it is none. The bytes decide, except
 * where a guest writes them: a block device and what is named as a raw disk are never taken for another format, and a
 * VHD of fixed size, which is a raw disk with a footer, only under a name of VHD.
 * @throws ImgstoreError `BAD_IMAGE` for a raw disk's name on a foreign image
 */
export async function findForeign(file: RawFile, path: string): Promise<FoundForeign | undefined> {
  if (file.isDevice) return undefined;
  const ending = extname(path).toLowerCase();
  const head = Buffer.alloc(Math.min(PROBE_BYTES, file.size));
  await file.read(0, head);
  const format = foreignSignature(head);
  if (format === undefined) {
    const isFixedVhd = ENDINGS.vpc.includes(ending) && (await hasVhdFooter(file));
    return isFixedVhd ? { format: 'vpc', guessed: false } : undefined;
  }
  if (RAW_ENDINGS.has(ending)) {
    throw badImage(
      path,
      `is named as a raw disk but holds a ${format} image: say which is meant with --format raw or --format ${format}`,
    );
  }
  return { format, guessed: !ENDINGS[format].includes(ending) };
}

async function hasVhdFooter(file: RawFile): Promise<boolean> {
  if (file.size < VHD_FOOTER_BYTES) return false;
  const footer = Buffer.alloc(8);
  await file.read(file.size - VHD_FOOTER_BYTES, footer);
  return foreignSignature(footer) === 'vpc';
}
