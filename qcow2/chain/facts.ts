import { stat } from 'node:fs/promises';
import type { RawFile } from '../../block/index.ts';
import { fromSystem } from '../../errors/index.ts';
import type { CompressionType, Qcow2Header } from '../meta/header.ts';
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

/** stat(2) counts blocks of 512 bytes whatever the file system's own. */
async function allocatedBytes(path: string): Promise<number> {
  try {
    return (await stat(path)).blocks * 512;
  } catch (error) {
    throw fromSystem(error, path);
  }
}
