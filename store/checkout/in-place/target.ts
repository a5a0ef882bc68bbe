import { InPlaceFile, RawFile } from '../../../block/index.ts';
import { counted, ImgstoreError, isImgstoreError } from '../../../errors/index.ts';
import { isNbdUri } from '../../../nbd/index.ts';
import {
  type ImageFormat,
  type Qcow2Header,
  readHeader,
  refuseUnwritable,
  topFormat,
  wholeSectors,
} from '../../../qcow2/index.ts';
import { type OpenDisk, openDisk } from '../../commit/open-disk.ts';
import type { Monitor } from '../../progress.ts';
import type { VersionDisk } from '../../version/version.ts';

/** A file or device that is to become a version's disk. */
export interface Target {
  readonly path: string;
  readonly file: InPlaceFile;
  readonly format: ImageFormat;
  /** Of a qcow2. */
  readonly header: Qcow2Header | undefined;
  /** What it holds now, with all below it. */
  readonly present: OpenDisk;
  readonly close: () => Promise<void>;
}

export interface TargetOptions {
  /** What the user says; content and name decide otherwise. */
  readonly format?: ImageFormat | undefined;
  /** Folders from which backing files may come, besides the target's own. */
  readonly allowBacking?: readonly string[] | undefined;
}

/**
 * Opens what a disk is to be written into, and refuses what could come to harm by that.
 * @throws ImgstoreError `NOT_FOUND`, `IN_USE`, `FORBIDDEN`, `BAD_IMAGE`, `UNSUPPORTED`, `IO`; nothing has been written then
 */
export async function openTarget(
  path: string,
  disk: VersionDisk,
  options: TargetOptions,
  monitor: Monitor,
): Promise<Target> {
  const file = await InPlaceFile.open(path).catch(adviseOnMissing);
  try {
    const format = await targetFormat(path, options.format);
    const { allowBacking } = options;
    const header = format === 'qcow2' ? await writableHeader(path, disk, monitor) : undefined;
    if (header === undefined) refuseSmall(file, disk, monitor);
    const present = await openDisk(path, { format, allowBacking, isLockedHere: true });
    const close = async () => {
      await present.source.close();
      await file.close();
    };
    return { path, file, format, header, present, close };
  } catch (error) {
    await file.close();
    throw error;
  }
}

function adviseOnMissing(error: unknown): never {
  if (!isImgstoreError(error, 'NOT_FOUND')) throw error;
  throw new ImgstoreError(error.code, `${error.message}: leave out --in-place to make it`, error.data, error);
}

/** A guess is no ground to write on: a guest can make its raw disk look like a qcow2, and what is a container for LUKS would lose its keys. */
async function targetFormat(path: string, wanted: ImageFormat | undefined): Promise<ImageFormat> {
  if (wanted !== undefined) return wanted;
  const file = await RawFile.open(path);
  try {
    const { format, guessed } = await topFormat(file, path, undefined);
    const looks = guessed ? 'a qcow2' : (await holdsLuks(file)) ? 'a LUKS container' : undefined;
    if (looks === undefined) return format;
    const choices = guessed
      ? '--format qcow2 or --format raw'
      : '--format raw if all of it is to be replaced, its keys too';
    throw new ImgstoreError('BAD_IMAGE', `${path}: looks like ${looks} by content only: pass ${choices}`, {
      path,
    });
  } finally {
    await file.close();
  }
}

const LUKS_MAGIC = Buffer.from('LUKS\xba\xbe', 'latin1');

async function holdsLuks(file: RawFile): Promise<boolean> {
  const head = Buffer.alloc(Math.min(LUKS_MAGIC.length, file.size));
  await file.read(0, head);
  return head.equals(LUKS_MAGIC);
}

/** @throws ImgstoreError `UNSUPPORTED`, `BAD_IMAGE` for an image that cannot be changed in place */
async function writableHeader(
  path: string,
  { virtualSize }: VersionDisk,
  { onNotice }: Monitor,
): Promise<Qcow2Header> {
  const file = await RawFile.open(path);
  try {
    const header = await readHeader(file, path);
    if (isNbdUri(header.backingFile ?? ''))
      throw new ImgstoreError(
        'UNSUPPORTED',
        `${path}: stands on an export of an NBD server, to which imgstore does not connect at an image's word: run imgstore hydrate on it first`,
        { path, name: header.backingFile },
      );
    const size = wholeSectors(virtualSize);
    if (header.virtualSize !== size) {
      const shrink = header.virtualSize > size ? '--shrink ' : '';
      throw new ImgstoreError(
        'UNSUPPORTED',
        `${path}: its disk has ${header.virtualSize} bytes, the version's ${size}: run qemu-img resize ${shrink}on it first, with ${size}`,
        { path, size: header.virtualSize, wanted: size },
      );
    }
    const leaks = await refuseUnwritable(file, header, path);
    if (leaks > 0)
      onNotice?.(
        `${path}: has ${counted(leaks, 'cluster')} that nothing uses: qemu-img check -r leaks gives that room back`,
      );
    return header;
  } finally {
    await file.close();
  }
}

function refuseSmall(
  { path, isDevice, size }: InPlaceFile,
  { virtualSize }: VersionDisk,
  { onNotice }: Monitor,
): void {
  if (!isDevice) return;
  if (size < virtualSize)
    throw new ImgstoreError(
      'UNSUPPORTED',
      `${path}: the device has ${size} bytes, the version ${virtualSize}: it does not fit`,
      {
        path,
        size,
        wanted: virtualSize,
      },
    );
  if (size > virtualSize)
    onNotice?.(
      `${path}: the device is longer than the version: the ${size - virtualSize} bytes behind its end are left as they are`,
    );
}
