import type { BlockSource, RawFile } from '../../block/index.ts';
import { KeyWork } from '../crypto/key-work.ts';
import { unsupported } from '../meta/fault.ts';
import type { Qcow2Header } from '../meta/header.ts';
import { Qcow2Image } from '../reader/image.ts';
import { usedL1Bytes } from '../reader/l1-table.ts';
import { allocatedBytes } from './facts.ts';
import type { ImageFormat } from './format.ts';
import type { OpenOptions } from './options.ts';

/** L1 tables are held whole; a chain of hostile images could ask for gigabytes. */
const MAX_CHAIN_L1_BYTES = 512 * 1024 * 1024;
/** Shared out among the images of a chain; one image takes what it takes by itself at most. */
const CHAIN_CACHE_BYTES = 64 * 1024 * 1024;

/** One image of a chain. */
export interface Layer {
  /** Real path. */
  readonly path: string;
  readonly format: ImageFormat;
  /** The backing file's name as the header has it. */
  readonly backing: string | undefined;
  /** The image's own file and, behind it, its data file, if it has one. */
  readonly files: readonly RawFile[];
  /** The disk that it is with all below it. The chain owns it. */
  readonly source: BlockSource;
}

/** A layer of which all is known but not yet what lies below it. */
export interface OpenLayer extends Omit<Layer, 'files' | 'source'> {
  /** The path as the user or the policy gave it, for errors. */
  readonly name: string;
  readonly file: RawFile;
  readonly header: Qcow2Header | undefined;
  readonly dataFile: RawFile | undefined;
  readonly key: Uint8Array | undefined;
}

/** Builds the disk from the lowest layer up. Returns what each layer shows, top first. */
export async function stack(
  layers: readonly OpenLayer[],
  bottom: BlockSource | undefined,
  options: OpenOptions,
): Promise<BlockSource[]> {
  const headers = layers.flatMap(({ header }) => header ?? []);
  const l1Bytes = headers.reduce((sum, header) => sum + usedL1Bytes(header), 0);
  if (l1Bytes > MAX_CHAIN_L1_BYTES) {
    throw unsupported(
      layers[0]!.name,
      `its chain needs ${l1Bytes} bytes for L1 tables: ${MAX_CHAIN_L1_BYTES} are the limit: flatten it with qemu-img convert`,
    );
  }
  const tableCacheBytes = CHAIN_CACHE_BYTES / headers.length;
  const keyWork = new KeyWork(options.keySeconds);
  const disks: BlockSource[] = [];
  for (const layer of layers.toReversed()) {
    const { file, name, header, dataFile, key } = layer;
    const snapshot = layer === layers[0] ? options.snapshot : undefined;
    const disk =
      header === undefined
        ? file
        : await Qcow2Image.open(file, {
            name,
            backing: disks[0] ?? bottom,
            dataFile,
            storedBytes: await storedBytes(file),
            tableCacheBytes,
            key,
            keyWork,
            snapshot,
          });
    disks.unshift(disk);
  }
  return disks;
}

/** Bytes that a file takes on its disk; undefined for a device, and where the file system does not tell. */
async function storedBytes(file: RawFile): Promise<number | undefined> {
  if (file.isDevice) return undefined;
  const bytes = await allocatedBytes(file.path);
  return bytes === 0 ? undefined : bytes;
}
