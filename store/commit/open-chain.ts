import {
  type Encryption,
  type ImageFormat,
  type Layer,
  type OpenedImage,
  openImage,
  Qcow2Image,
} from '../../qcow2/index.ts';
import type { KnownFiles } from '../stat-cache.ts';
import type { SourceFacts } from '../version/image-json.ts';
import { allowedFolders, type OpenDiskOptions } from './disk.ts';
import { refuseInUse } from './in-use.ts';
import { nowNs, WatchedFiles } from './watched-files.ts';

/** A qcow2 image with its chain, or a raw disk, open for reading, and how its files looked before the first byte was read. */
export interface OpenChain {
  readonly path: string;
  readonly image: OpenedImage;
  readonly watched: WatchedFiles;
  /** Some layer is. */
  readonly isEncrypted: boolean;
  /**
   * The files tell what the disk holds: not those of a block device, which has no state to compare, nor those of the old encryption, which reads as something else with
   * another key.
   */
  readonly tells: boolean;
  /** Throws `IN_USE` when a file has changed since. */
  readonly refuseChanged: () => Promise<void>;
}

/** @throws ImgstoreError `IN_USE`, and what {@link openImage} throws */
export async function openChain(
  path: string,
  format: ImageFormat | undefined,
  options: Omit<OpenDiskOptions, 'format'>,
): Promise<OpenChain> {
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
    const others = options.isLockedHere ? image.files.slice(1) : image.files;
    if (!options.forceShare) for (const file of others) await refuseInUse(file.path);
    const watched = await WatchedFiles.look(image.files, lookedNs);
    return {
      path,
      image,
      watched,
      isEncrypted: encrypted.size > 0,
      tells: !encrypted.has('aes') && watched.tell,
      refuseChanged: async () => {
        if (!options.forceShare) await watched.refuseChanged();
      },
    };
  } catch (error) {
    await image.source.close();
    throw error;
  }
}

/** Number of files above a layer of a chain. */
export function filesAbove({ image }: OpenChain, layer: number): number {
  return image.layers.slice(0, layer).reduce((sum, { files }) => sum + files.length, 0);
}

/** What the disk is read from that a layer shows, with all below it; undefined when the files do not tell what it holds. */
export function filesOfLayer(chain: OpenChain, layer: number): KnownFiles | undefined {
  if (!chain.tells) return undefined;
  const { format } = chain.image.layers[layer]!;
  return { format, identities: chain.watched.identities.slice(filesAbove(chain, layer)) };
}

/**
 * What `image.json` tells of the file that a disk was read from.
 * @param layers the file and all below it
 */
export function layerFacts(layers: readonly Layer[]): SourceFacts {
  const { format, source } = layers[0]!;
  if (!(source instanceof Qcow2Image)) return { format };
  const { version, clusterBits, compressionType, extendedL2 } = source.header;
  return {
    format,
    compat: version === 2 ? '0.10' : '1.1',
    clusterSize: 2 ** clusterBits,
    compressionType,
    extendedL2,
    layers: layers.length,
  };
}
