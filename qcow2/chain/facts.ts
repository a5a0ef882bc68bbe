import { stat } from 'node:fs/promises';
import type { RawFile } from '../../block/index.ts';
import { fromSystem, isImgstoreError } from '../../errors/index.ts';
import type { BitmapFlaw } from '../meta/bitmap.ts';
import type { CompressionType, Qcow2Header } from '../meta/header.ts';
import { readBitmaps } from '../reader/bitmaps.ts';
import { readSnapshots } from '../reader/snapshots.ts';
import type { ImageFormat } from './format.ts';

/** What the header of a qcow2 image says, as plain data. */
export interface Qcow2Facts {
  readonly version: 2 | 3;
  /** qemu-img's name of the version: `0.10` or `1.1`. */
  readonly compat: '0.10' | '1.1';
  /** Bytes. */
  readonly clusterSize: number;
  readonly compressionType: CompressionType;
  readonly extendedL2: boolean;
  readonly lazyRefcounts: boolean;
  readonly refcountBits: number;
  readonly encrypted: 'aes' | 'luks' | undefined;
  /** As the header has it, relative to the image's folder. */
  readonly backingFile: string | undefined;
  readonly backingFormat: string | undefined;
  readonly dataFile: { readonly name: string | undefined; readonly raw: boolean } | undefined;
  /** Internal snapshots. */
  readonly snapshots: number;
  /** Persistent dirty bitmaps. */
  readonly bitmaps: number;
  readonly dirty: boolean;
  readonly corrupt: boolean;
}

/** One image file, as plain data that survives JSON. */
export interface ImageFacts {
  readonly path: string;
  readonly format: ImageFormat;
  /** Bytes that a guest sees. */
  readonly virtualSize: number;
  /** Bytes of the file. */
  readonly fileSize: number;
  /** Bytes that the file takes on its disk; for a block device, its size. */
  readonly allocatedBytes: number;
  /** Only for qcow2. */
  readonly qcow2: Qcow2Facts | undefined;
}

/** One internal snapshot. */
export interface SnapshotFacts {
  readonly id: string;
  readonly name: string;
  /** When it was taken: ISO 8601, in UTC. */
  readonly date: string;
  /** Bytes of the VM's saved state; 0 if there is none. */
  readonly vmStateSize: number;
  /** Bytes of the disk then. */
  readonly diskSize: number;
}

/** One persistent dirty bitmap. */
export interface BitmapFacts {
  readonly name: string;
  /** Bytes of the disk that one bit stands for. */
  readonly granularity: number;
  /** As qemu-img names them. */
  readonly flags: readonly ('in-use' | 'auto' | 'extra-data-compatible')[];
  /** It tells all that was written since it was made. */
  readonly valid: boolean;
  /** Why not, if so. */
  readonly flaw: BitmapFlaw;
}

/** What the tables of a qcow2 image say besides its header. */
export interface Qcow2Details extends Qcow2Facts {
  /** Oldest first. */
  readonly snapshotList: readonly SnapshotFacts[];
  /** Empty when the directory is not valid and the header says that it may be so. */
  readonly bitmapList: readonly BitmapFacts[];
}

/** One image file with what its tables list. */
export interface ImageDetails extends ImageFacts {
  readonly qcow2: Qcow2Details | undefined;
}

/**
 * As {@link imageFacts}, with lists of snapshots and bitmaps.
 * @throws ImgstoreError `BAD_IMAGE` when the table of snapshots or the directory of bitmaps is not valid.
 */
export async function imageDetails(
  file: RawFile,
  path: string,
  header: Qcow2Header | undefined,
): Promise<ImageDetails> {
  const { qcow2, ...facts } = await imageFacts(file, path, header);
  if (qcow2 === undefined || header === undefined) return { ...facts, qcow2: undefined };
  const snapshots = await readSnapshots(file, header, path);
  return {
    ...facts,
    qcow2: {
      ...qcow2,
      snapshotList: snapshots.map(({ id, name, dateSeconds, dateNanoseconds, vmStateSize, diskSize }) => ({
        id,
        name,
        date: new Date(dateSeconds * 1000 + Math.floor(dateNanoseconds / 1e6)).toISOString(),
        vmStateSize,
        diskSize: diskSize ?? header.virtualSize,
      })),
      bitmapList: await bitmapList(file, path, header),
    },
  };
}

async function bitmapList(file: RawFile, path: string, header: Qcow2Header): Promise<readonly BitmapFacts[]> {
  try {
    return (await readBitmaps(file, header, path)).map(
      ({ name, granularity, inUse, auto, extraDataCompatible, flaw }) => ({
        name,
        granularity,
        flags: [
          ...(inUse ? (['in-use'] as const) : []),
          ...(auto ? (['auto'] as const) : []),
          ...(extraDataCompatible ? (['extra-data-compatible'] as const) : []),
        ],
        valid: flaw === undefined,
        flaw,
      }),
    );
  } catch (error) {
    // Who wrote the image last did not know bitmaps: their clusters may have been given to others.
    if (header.bitmaps?.consistent === false && isImgstoreError(error, 'BAD_IMAGE')) return [];
    throw error;
  }
}

/** Facts of the open file `file`, named `path`; `header` if it is qcow2. */
export async function imageFacts(
  file: RawFile,
  path: string,
  header: Qcow2Header | undefined,
): Promise<ImageFacts> {
  return {
    path,
    format: header === undefined ? 'raw' : 'qcow2',
    virtualSize: header?.virtualSize ?? file.size,
    fileSize: file.size,
    allocatedBytes: file.isDevice ? file.size : await allocatedBytes(file.path),
    qcow2: header === undefined ? undefined : qcow2Facts(header),
  };
}

function qcow2Facts(header: Qcow2Header): Qcow2Facts {
  return {
    version: header.version,
    compat: header.version === 2 ? '0.10' : '1.1',
    clusterSize: 2 ** header.clusterBits,
    compressionType: header.compressionType,
    extendedL2: header.extendedL2,
    lazyRefcounts: header.lazyRefcounts,
    refcountBits: 2 ** header.refcountOrder,
    encrypted: header.encryption,
    backingFile: header.backingFile,
    backingFormat: header.backingFormat,
    dataFile: header.dataFile,
    snapshots: header.snapshotCount,
    bitmaps: header.bitmaps?.count ?? 0,
    dirty: header.dirty,
    corrupt: header.corrupt,
  };
}

/** Bytes that a file takes on its disk. stat(2) counts blocks of 512 bytes whatever the file system's own. */
export async function allocatedBytes(path: string): Promise<number> {
  try {
    return (await stat(path)).blocks * 512;
  } catch (error) {
    throw fromSystem(error, path);
  }
}
