import { RawFile } from '../../block/index.ts';
import { isNbdUri } from '../../nbd/index.ts';
import {
  describeImage,
  type ImageDetails,
  type ImageFormat,
  luksDiskSize,
  readHeader,
} from '../../qcow2/index.ts';
import { foreignFormat } from '../foreign/find-format.ts';
import { type Origin, parseOrigin } from '../origin/extension.ts';
import type { DiskFormat, OpenDisk, OpenDiskOptions } from './disk.ts';
import { openForeignDisk } from './open-foreign-disk.ts';
import { openNbdDisk } from './open-nbd-disk.ts';
import { nowNs, WatchedFiles } from './watched-files.ts';

/** One disk that can be committed, as plain data that survives JSON. */
export interface DiskDetails extends Omit<ImageDetails, 'format' | 'fileSize' | 'allocatedBytes'> {
  readonly format: DiskFormat | 'nbd';
  /** Bytes of all files; undefined for an NBD export. */
  readonly fileSize: number | undefined;
  /** Bytes that the files take on their disk; undefined for an NBD export. */
  readonly allocatedBytes: number | undefined;
  /** Every file that the image consists of, itself first, where it can have several. */
  readonly files: readonly string[] | undefined;
  /** What a qcow2's header says that a checkout wrote into it. Whoever made the image can have written that. */
  readonly origin: Pick<Origin, 'commit' | 'disk' | 'base'> | undefined;
}

/**
 * Facts about an image, without what it stands on, or about an NBD export.
 * @param path a file, or an NBD URI
 * @throws ImgstoreError as `openDisk` does for the image itself
 */
export async function describeDisk(
  path: string,
  options: Pick<OpenDiskOptions, 'format' | 'allowBacking'> = {},
): Promise<DiskDetails> {
  if (isNbdUri(path)) return described(await openNbdDisk(path, options), 'nbd');
  if (options.format === 'luks') return describeLuks(path);
  const foreign = await foreignFormat(path, options.format);
  if (foreign === undefined) {
    const format = options.format as ImageFormat | undefined;
    const details = await describeImage(path, { format });
    const origin = details.qcow2 === undefined ? undefined : await originOf(path);
    return { ...details, files: undefined, origin };
  }
  // Its size is safe to look at also while a machine runs from it.
  return described(await openForeignDisk(path, foreign, { ...options, forceShare: true }), foreign.format);
}

/** What a LUKS header tells without a key. */
async function describeLuks(path: string): Promise<DiskDetails> {
  const file = await RawFile.open(path);
  try {
    const virtualSize = await luksDiskSize(file, path);
    const allocatedBytes = await (await WatchedFiles.look([file], nowNs())).allocatedBytes();
    const { size: fileSize } = file;
    return {
      path,
      format: 'luks',
      virtualSize,
      fileSize,
      allocatedBytes,
      qcow2: undefined,
      files: undefined,
      origin: undefined,
    };
  } finally {
    await file.close();
  }
}

/** What a qcow2's header says of its origin; undefined when it says nothing that can be understood. */
async function originOf(path: string): Promise<DiskDetails['origin']> {
  const file = await RawFile.open(path);
  try {
    const origin = parseOrigin((await readHeader(file, path)).extensions.list);
    return origin && { commit: origin.commit, disk: origin.disk, base: origin.base };
  } finally {
    await file.close();
  }
}

async function described(disk: OpenDisk, format: DiskFormat | 'nbd'): Promise<DiskDetails> {
  const { path, source, files } = disk;
  try {
    return {
      path,
      format,
      virtualSize: source.size,
      fileSize: files?.identities.reduce((sum, { size }) => sum + size, 0),
      allocatedBytes: disk.allocatedBytes,
      qcow2: undefined,
      files: files?.identities.map((file) => file.path),
      origin: undefined,
    };
  } finally {
    await source.close();
  }
}
