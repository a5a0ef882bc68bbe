import { isNbdUri } from '../../nbd/index.ts';
import { type Encryption, type ImageFormat, type OpenedImage, openImage } from '../../qcow2/index.ts';
import { foreignFormat } from '../foreign/find-format.ts';
import type { SourceFacts } from '../version/image-json.ts';
import {
  allowedFolders,
  type DiskBase,
  ENCRYPTED_NOTICE,
  type OpenDisk,
  type OpenDiskOptions,
} from './disk.ts';
import { refuseInUse } from './in-use.ts';
import { openForeignDisk } from './open-foreign-disk.ts';
import { openLuksDisk } from './open-luks-disk.ts';
import { openNbdDisk } from './open-nbd-disk.ts';
import { nowNs, WatchedFiles } from './watched-files.ts';

export type { OpenDisk, OpenDiskOptions } from './disk.ts';

/**
 * Opens an image, or an export of an NBD server by its URI.
 * @throws ImgstoreError `IN_USE`, and what {@link openImage}, {@link openForeignDisk}, {@link openLuksDisk} and {@link openNbdDisk} throw
 */
export async function openDisk(path: string, options: OpenDiskOptions): Promise<OpenDisk> {
  if (isNbdUri(path)) return openNbdDisk(path, options);
  if (options.format === 'luks') return openLuksDisk(path, options);
  const foreign = await foreignFormat(path, options.format);
  if (foreign !== undefined) return openForeignDisk(path, foreign, options);
  return openImageDisk(path, options.format as ImageFormat | undefined, options);
}

/** Opens a qcow2 image with its chain, or a raw disk. */
async function openImageDisk(
  path: string,
  format: ImageFormat | undefined,
  options: OpenDiskOptions,
): Promise<OpenDisk> {
  const lookedNs = nowNs();
  const encrypted = new Set<Encryption>();
  const image = await openImage(path, {
    format,
    allow: allowedFolders(path, options),
    standIn: options.standIn,
    key: async (file, encryption) => {
      encrypted.add(encryption);
      return typeof options.key === 'function' ? options.key(file, encryption) : options.key;
    },
  });
  try {
    if (!options.forceShare) for (const file of image.files) await refuseInUse(file.path);
    const watched = await WatchedFiles.look(image.files, lookedNs);
    const before = watched.identities;
    const allocatedBytes = await watched.allocatedBytes();
    const tells = !encrypted.has('aes') && watched.tell;
    return {
      path,
      source: image.source,
      facts: sourceFacts(image),
      paths: image.files.map((file) => file.path),
      notices: noticesOf(path, image.facts.qcow2?.snapshots ?? 0, encrypted.size > 0),
      allocatedBytes,
      expectedBytes: Math.min(image.source.size, allocatedBytes),
      files: tells ? { format: image.format, identities: before } : undefined,
      extentsAboveStandIn: extentsAboveStandIn(image),
      bases: tells ? await basesOf(image, watched) : [],
      lookedNs,
      refuseChanged: async () => {
        if (!options.forceShare) await watched.refuseChanged();
      },
    };
  } catch (error) {
    await image.source.close();
    throw error;
  }
}

/** The disks below an image, the nearest first. */
async function basesOf({ image, layers }: OpenedImage, watched: WatchedFiles): Promise<DiskBase[]> {
  const bases: DiskBase[] = [];
  let above = 0;
  for (const [i, { format, files, source }] of layers.entries()) {
    if (image !== undefined && i > 0) {
      bases.push({
        files: { format, identities: watched.identities.slice(above) },
        size: source.size,
        bytesAbove: await watched.allocatedBytes(above),
        extents: () => image.extentsAbove(source, 0, image.size),
      });
    }
    above += files.length;
  }
  return bases;
}

function extentsAboveStandIn({ image, standIn }: OpenedImage): OpenDisk['extentsAboveStandIn'] {
  return image && standIn && (() => image.extentsAbove(standIn, 0, image.size));
}

function sourceFacts(image: OpenedImage): SourceFacts {
  const { qcow2 } = image.facts;
  if (qcow2 === undefined) return { format: image.format };
  const { compat, clusterSize, compressionType, extendedL2 } = qcow2;
  return {
    format: image.format,
    compat,
    clusterSize,
    compressionType,
    extendedL2,
    layers: image.layers.length,
  };
}

function noticesOf(path: string, snapshots: number, encrypted: boolean): readonly string[] {
  return [
    ...(encrypted ? [`${path}: ${ENCRYPTED_NOTICE}`] : []),
    ...(snapshots === 0
      ? []
      : [`${path}: only the present state is stored, not its ${snapshots} internal snapshots`]),
  ];
}
