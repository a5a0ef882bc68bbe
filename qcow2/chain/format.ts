import { extname } from 'node:path';
import type { RawFile } from '../../block/index.ts';
import { badImage, unsupported } from '../meta/fault.ts';
import { hasQcowMagic } from '../meta/layout.ts';
import { LUKS_MAGIC } from '../meta/luks-header.ts';
import { foreignSignature, RAW_ENDINGS } from './foreign.ts';

/** The formats that are read here. */
export type ImageFormat = 'qcow2' | 'raw';

/** How sure the format of a file is. `guessed`: by content alone, under a name that does not say qcow2. */
export interface FoundFormat {
  readonly format: ImageFormat;
  readonly guessed: boolean;
}

const QCOW2_ENDINGS: ReadonlySet<string> = new Set(['.qcow2', '.qcow', '.qcow3', '.qc2']);

/** Enough for every signature below. */
const PROBE_BYTES = 512;

/**
 * Decides the format of the file that the user named. What the user says wins; a raw disk is never taken for one
 * by its content, since a guest writes that and could make it look like a qcow2 that names any file.
 * @param path as the user named it.
 * @throws ImgstoreError `BAD_IMAGE` or `UNSUPPORTED`, with what to do.
 */
export async function topFormat(
  file: RawFile,
  path: string,
  wanted: ImageFormat | undefined,
): Promise<FoundFormat> {
  if (wanted !== undefined) return { format: wanted, guessed: false };
  const ending = extname(path).toLowerCase();
  const head = await probe(file);
  if (hasQcowMagic(head)) {
    if (ending === '.raw') {
      throw badImage(
        path,
        'is named as a raw disk but holds a qcow2 image: say which is meant with --format raw or --format qcow2',
      );
    }
    return { format: 'qcow2', guessed: !QCOW2_ENDINGS.has(ending) };
  }
  if (QCOW2_ENDINGS.has(ending)) {
    throw badImage(path, 'no qcow2 magic: if it is a raw disk, pass --format raw', { field: 'magic' });
  }
  if (file.isDevice) return { format: 'raw', guessed: false };
  refuseForeign(head, path);
  if (RAW_ENDINGS.has(ending)) return { format: 'raw', guessed: false };
  if (LUKS_MAGIC.equals(head.subarray(0, LUKS_MAGIC.length))) {
    throw badImage(
      path,
      'is a LUKS container: pass --format luks for the disk that its key shows, or --format raw for its bytes as they are',
    );
  }
  throw badImage(path, 'is not a disk image that imgstore knows: pass --format raw if it is a raw disk');
}

/**
 * Decides the format of a backing file.
 * @param named the backing file format in the header of `owner`, if it has one.
 * @throws ImgstoreError `BAD_IMAGE` when the format is not named and content does not say qcow2.
 */
export async function backingFormat(
  file: RawFile,
  named: string | undefined,
  owner: string,
): Promise<FoundFormat> {
  switch (named) {
    case 'qcow2':
    case 'raw':
      return { format: named, guessed: false };
    case 'file':
    case 'host_device':
      // Old QEMU wrote the protocol here, which means the bytes as they are.
      return { format: 'raw', guessed: false };
    case undefined: {
      const head = await probe(file);
      if (hasQcowMagic(head))
        return { format: 'qcow2', guessed: !QCOW2_ENDINGS.has(extname(file.path).toLowerCase()) };
      refuseForeign(head, file.path);
      throw badImage(
        owner,
        `does not say the format of its backing file ${JSON.stringify(file.path)}: if that is a raw disk, run qemu-img rebase -u -F raw -b <backing file> on the image`,
        { backing: file.path },
      );
    }
    default:
      throw unsupported(
        owner,
        `its backing file has the format ${JSON.stringify(named)}, which imgstore does not read below a qcow2: convert the image with qemu-img convert -O qcow2`,
        { backing: file.path, format: named },
      );
  }
}

async function probe(file: RawFile): Promise<Uint8Array> {
  const head = Buffer.alloc(Math.min(PROBE_BYTES, file.size));
  await file.read(0, head);
  return head;
}

function refuseForeign(head: Uint8Array, path: string): void {
  const format = foreignSignature(head);
  if (format === undefined) return;
  throw unsupported(
    path,
    `is a ${format} image, where only qcow2 and raw disks can be: convert it with qemu-img convert -f ${format} -O qcow2`,
    { format },
  );
}
