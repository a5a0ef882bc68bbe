import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type BlockSource, type FileIdentity, type RawFile, sameIdentity } from '../../block/index.ts';
import { ImgstoreError } from '../../errors/index.ts';
import { type Encryption, type ImageFormat, type ImageKey, openImage } from '../../qcow2/index.ts';
import type { KnownFiles } from '../stat-cache.ts';
import type { SourceFacts } from '../version/image-json.ts';
import { refuseInUse } from './in-use.ts';

/** How to open an image that is to be stored or compared. */
export interface OpenDiskOptions {
  readonly format?: ImageFormat | undefined;
  /** Folders from which backing and data files may come, besides the image's own. */
  readonly allowBacking?: readonly string[] | undefined;
  /** Goes on although a running QEMU writes to it. */
  readonly forceShare?: boolean | undefined;
  /** The password of encrypted images. It is kept nowhere. */
  readonly key?: ImageKey | undefined;
}

/** An image with its chain, open for reading, and how its files looked before the first byte was read. */
export interface OpenDisk {
  readonly path: string;
  readonly source: BlockSource;
  readonly facts: SourceFacts;
  /** Real paths of the image and of every file below it, top first. */
  readonly paths: readonly string[];
  /** What the user should know: what of the image is not stored. */
  readonly notices: readonly string[];
  /** About how many bytes there are to read, for progress: what the files take on disk, at most the disk's size. */
  readonly expectedBytes: number;
  /**
   * The image and every file below it, top first. Undefined when they do not tell what the disk holds: a block
   * device has no state to compare, and the old encryption reads as something else with another key.
   */
  readonly files: KnownFiles | undefined;
  /** The same for what lies below the image: its backing file with all below that. */
  readonly below: KnownFiles | undefined;
  /** When they were looked at: nanoseconds since 1970. */
  readonly lookedNs: bigint;
  /** Throws `IN_USE` when a file has changed since. */
  readonly refuseChanged: () => Promise<void>;
}

/** Opens an image. @throws ImgstoreError `IN_USE`, and what {@link openImage} throws. */
export async function openDisk(path: string, options: OpenDiskOptions): Promise<OpenDisk> {
  const lookedNs = BigInt(Date.now()) * 1_000_000n;
  const encrypted = new Set<Encryption>();
  const image = await openImage(path, {
    format: options.format,
    allow: allowedFolders(path, options),
    key: async (file, encryption) => {
      encrypted.add(encryption);
      return typeof options.key === 'function' ? options.key(file, encryption) : options.key;
    },
  });
  try {
    if (!options.forceShare) for (const file of image.files) await refuseInUse(file.path);
    const before = await identities(image.files);
    const tells = !encrypted.has('aes') && !image.files.some((file) => file.isDevice);
    const [, next] = image.layers;
    const ofTop = image.facts.qcow2?.dataFile === undefined ? 1 : 2;
    return {
      path,
      source: image.source,
      facts: sourceFacts(image),
      paths: image.files.map((file) => file.path),
      notices: noticesOf(path, image.facts.qcow2?.snapshots ?? 0, encrypted.size > 0),
      expectedBytes: Math.min(image.source.size, await allocatedBytes(image.files)),
      files: tells ? { format: image.format, identities: before } : undefined,
      below:
        tells && next !== undefined ? { format: next.format, identities: before.slice(ofTop) } : undefined,
      lookedNs,
      refuseChanged: async () => {
        if (options.forceShare) return;
        const after = await identities(image.files);
        const changed = image.files.findIndex(
          (file, i) => !file.isDevice && !sameIdentity(before[i]!, after[i]!),
        );
        if (changed < 0) return;
        const where = image.files[changed]!.path;
        throw new ImgstoreError(
          'IN_USE',
          `${where}: changed while it was read: stop what writes to it and try again`,
          { path: where },
        );
      },
    };
  } catch (error) {
    await image.source.close();
    throw error;
  }
}

function identities(files: readonly RawFile[]): Promise<FileIdentity[]> {
  return Promise.all(files.map((file) => file.identity()));
}

function sourceFacts(image: Awaited<ReturnType<typeof openImage>>): SourceFacts {
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

async function allocatedBytes(files: readonly RawFile[]): Promise<number> {
  const sizes = await Promise.all(
    files.map(async (file) => (file.isDevice ? file.size : (await stat(file.path)).blocks * 512)),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

function allowedFolders(path: string, { allowBacking }: OpenDiskOptions): readonly string[] | undefined {
  return allowBacking === undefined || allowBacking.length === 0
    ? undefined
    : [dirname(path), ...allowBacking];
}

function noticesOf(path: string, snapshots: number, encrypted: boolean): readonly string[] {
  return [
    ...(encrypted
      ? [`${path}: is encrypted, but the store is not: it holds the disk as the key shows it`]
      : []),
    ...(snapshots === 0
      ? []
      : [`${path}: only the present state is stored, not its ${snapshots} internal snapshots`]),
  ];
}
