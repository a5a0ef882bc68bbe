import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ImgstoreError } from '../../../errors/index.ts';
import { checkImage, describeImage, type OpenedImage, openImage } from '../../../qcow2/index.ts';
import { PASSWORD } from '../crypto/qemu-encrypted.ts';
import { qemu } from '../differential/qemu-run.ts';
import { extentsOf } from '../qemu.ts';

const KEY = Buffer.from(PASSWORD);
/** What may be read whole; of a larger disk both ends are. */
const MAX_WHOLE_BYTES = 16 * 2 ** 20;
const END_BYTES = 64 * 1024;
const CODES: readonly string[] = ['BAD_IMAGE', 'UNSUPPORTED', 'WRONG_KEY', 'NOT_FOUND', 'FORBIDDEN'];

/** The parts of a disk that are read, and its size. */
export interface DiskBytes {
  readonly size: number;
  readonly parts: readonly { readonly offset: number; readonly bytes: Buffer }[];
  readonly encryption: 'aes' | 'luks' | undefined;
}

/** What came of an image: bytes, or the one error that it may fail with. Anything else is thrown. */
export async function outcomeOf<T>(path: string, work: () => Promise<T>): Promise<T | ImgstoreError> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof ImgstoreError)) throw error;
    const { code, message } = error;
    if (CODES.includes(code) && message.startsWith(`${path}: `) && !message.includes('\n')) return error;
    throw error;
  }
}

/** Opens an image with all that belongs to it, and reads its disk or that of a snapshot. */
export function readDisk(path: string, snapshot?: string): Promise<DiskBytes | ImgstoreError> {
  return outcomeOf(path, async () => {
    const opened = await openImage(path, { format: 'qcow2', key: KEY, snapshot });
    try {
      return await bytesOf(opened);
    } finally {
      await opened.source.close();
    }
  });
}

async function bytesOf({ source, image }: OpenedImage): Promise<DiskBytes> {
  const { size } = source;
  const lengths =
    size <= MAX_WHOLE_BYTES
      ? [[0, size] as const]
      : ([
          [0, END_BYTES],
          [size - END_BYTES, END_BYTES],
        ] as const);
  const parts: { offset: number; bytes: Buffer }[] = [];
  for (const [offset, length] of lengths) {
    const bytes = Buffer.alloc(length, 0xee);
    await source.read(offset, bytes);
    for (const extent of await extentsOf(source, offset, length)) {
      const part = bytes.subarray(extent.offset - offset, extent.offset - offset + extent.length);
      if (extent.kind !== 'data' && part.some((byte) => byte !== 0)) {
        throw new Error(`${extent.kind} at ${extent.offset} does not read as zeros`);
      }
    }
    parts.push({ offset, bytes });
  }
  return { size, parts, encryption: image?.header.encryption };
}

/**
 * Compares with what QEMU reads at the same places.
 * @returns undefined when they agree, else what differs; `refused` when QEMU does not read it.
 */
export async function differsFromQemu(
  folder: string,
  path: string,
  disk: DiskBytes,
  snapshot?: string,
): Promise<string | undefined> {
  const raw = join(folder, 'as.raw');
  const secret = ['--object', `secret,id=key,data=${PASSWORD}`];
  const encrypt = (prefix: string) =>
    disk.encryption === undefined
      ? ''
      : `,${prefix}encrypt.format=${disk.encryption},${prefix}encrypt.key-secret=key`;
  for (const { offset, bytes } of disk.parts) {
    if (bytes.length === 0) continue;
    const of = snapshot === undefined ? [] : ['-l', `snapshot.id=${snapshot}`];
    // QEMU reads a snapshot whole.
    const where =
      snapshot === undefined
        ? `driver=raw,offset=${offset},size=${bytes.length},file.driver=qcow2${encrypt('file.')},file.file.filename=${path}`
        : `driver=qcow2${encrypt('')},file.filename=${path}`;
    const { code, stderr } = await qemu(folder, 'qemu-img', [
      'convert',
      ...secret,
      ...of,
      '--image-opts',
      where,
      '-O',
      'raw',
      raw,
    ]);
    if (code !== 0) return `refused: ${stderr.trim()}`;
    const theirs = await readFile(raw);
    await rm(raw);
    // QEMU reads a snapshot at the size of the active disk.
    const length = snapshot === undefined ? bytes.length : Math.min(bytes.length, theirs.length);
    const [a, b] = [bytes.subarray(0, length), theirs.subarray(0, length)];
    if (!a.equals(b)) return `byte ${offset + a.findIndex((byte, i) => byte !== b[i])} differs`;
  }
  return undefined;
}

/** Goes through all else that can be done with an image: each gives something or one error. */
export async function lookAround(path: string): Promise<void> {
  await outcomeOf(path, () => describeImage(path));
  await outcomeOf(path, () => checkImage(path, { format: 'qcow2' }));
  await outcomeOf(path, async () => {
    const { source, image } = await openImage(path, { format: 'qcow2', key: KEY });
    try {
      for (const bitmap of (await image?.bitmaps()) ?? []) {
        await outcomeOf(path, async () => {
          for await (const range of bitmap.dirty()) {
            if (range.length <= 0 || range.offset + range.length > source.size) {
              throw new Error(`dirty range ${range.offset}+${range.length} is not on the disk`);
            }
          }
        });
      }
    } finally {
      await source.close();
    }
  });
}
