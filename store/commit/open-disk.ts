import { counted } from '../../errors/index.ts';
import { isNbdUri } from '../../nbd/index.ts';
import type { ImageFormat, OpenedImage } from '../../qcow2/index.ts';
import { foreignFormat } from '../foreign/find-format.ts';
import { type DiskBase, ENCRYPTED_NOTICE, type OpenDisk, type OpenDiskOptions } from './disk.ts';
import { filesAbove, filesOfLayer, layerFacts, type OpenChain, openChain } from './open-chain.ts';
import { openForeignDisk } from './open-foreign-disk.ts';
import { openLuksDisk } from './open-luks-disk.ts';
import { openNbdDisk } from './open-nbd-disk.ts';

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
  const chain = await openChain(path, format, options);
  const { image, watched, isEncrypted } = chain;
  try {
    const allocatedBytes = await watched.allocatedBytes();
    return {
      path,
      source: image.source,
      facts: layerFacts(image.layers),
      paths: image.files.map((file) => file.path),
      notices: noticesOf(path, image.facts.qcow2?.snapshots ?? 0, isEncrypted),
      allocatedBytes,
      expectedBytes: Math.min(image.source.size, allocatedBytes),
      files: filesOfLayer(chain, 0),
      bitmaps: image.image && (() => image.image!.bitmaps()),
      header: image.image?.header,
      extentsAboveStandIn: extentsAboveStandIn(image),
      bases: await basesOf(chain),
      lookedNs: watched.lookedNs,
      refuseChanged: chain.refuseChanged,
    };
  } catch (error) {
    await image.source.close();
    throw error;
  }
}

/** The disks below an image, the nearest first. */
async function basesOf(chain: OpenChain): Promise<DiskBase[]> {
  const { image: top, layers } = chain.image;
  const bases: DiskBase[] = [];
  for (const [i, { source }] of layers.entries()) {
    const files = filesOfLayer(chain, i);
    if (i === 0 || top === undefined || files === undefined) continue;
    bases.push({
      files,
      size: source.size,
      bytesAbove: await chain.watched.allocatedBytes(filesAbove(chain, i)),
      extents: () => top.extentsAbove(source, 0, top.size),
    });
  }
  return bases;
}

function extentsAboveStandIn({ image, standIn }: OpenedImage): OpenDisk['extentsAboveStandIn'] {
  return image && standIn && (() => image.extentsAbove(standIn, 0, image.size));
}

function noticesOf(path: string, snapshots: number, encrypted: boolean): readonly string[] {
  return [
    ...(encrypted ? [`${path}: ${ENCRYPTED_NOTICE}`] : []),
    ...(snapshots === 0
      ? []
      : [
          `${path}: only the present state is stored, not its ${counted(snapshots, 'internal snapshot')}: 'imgstore import' stores those`,
        ]),
  ];
}
