import { type BlockSource, checkRange, type Extent } from '../../block/index.ts';
import { badImage, unsupported } from '../meta/fault.ts';
import { geometryOf } from '../meta/geometry.ts';
import { firstClusterSize, parseHeader, type Qcow2Header } from '../meta/header.ts';
import { TABLE_ENTRY_BYTES } from '../meta/layout.ts';
import { ClusterMap } from './cluster-map.ts';
import { type CompressedPart, CompressedReader } from './compressed-reader.ts';
import { coalesce, layerExtents } from './extents.ts';
import { readPadded } from './padded-read.ts';
import { TableCache } from './table-cache.ts';

/** The header of nearly every image fits this; the rest of a larger first cluster is read when it is needed. */
const FIRST_READ_BYTES = 64 * 1024;
/** Host reads of one call that may be under way at a time: enough to keep a disk busy, few enough to share it. */
const READS_AT_ONCE = 16;

/** What an image is read over besides its own file. The image owns them: closing it closes them. */
export interface Qcow2Parts {
  /** The image's name, for errors; a path. */
  readonly name: string;
  /** What unallocated ranges read from; without one they read as zeros, even if the header names a file. */
  readonly backing?: BlockSource | undefined;
  /** The external data file, if the header asks for one. */
  readonly dataFile?: BlockSource | undefined;
  /** Bytes of L2 tables to keep at most, 8 MiB if not said; 4 tables are kept in any case. */
  readonly tableCacheBytes?: number | undefined;
}

/**
 * Reads and parses the header of the image in `host`, and nothing else.
 * @throws ImgstoreError `BAD_IMAGE` or `UNSUPPORTED`, naming `name` and the field.
 */
export async function readHeader(host: BlockSource, name: string): Promise<Qcow2Header> {
  const prefix = Buffer.alloc(Math.min(host.size, FIRST_READ_BYTES));
  await host.read(0, prefix);
  const wanted = Math.min(firstClusterSize(prefix), host.size);
  if (wanted <= prefix.length) return parseHeader(prefix, name);
  const whole = Buffer.alloc(wanted);
  await host.read(0, whole);
  return parseHeader(whole, name);
}

/** A qcow2 image over its host file: one layer, which passes reads of what it does not hold to its backing. */
export class Qcow2Image implements BlockSource {
  readonly header: Qcow2Header;
  readonly size: number;
  readonly #data: BlockSource;
  readonly #backing: BlockSource | undefined;
  readonly #owned: readonly (BlockSource | undefined)[];
  readonly #map: ClusterMap;
  readonly #compressed: CompressedReader;

  private constructor(header: Qcow2Header, host: BlockSource, parts: Qcow2Parts, l1: Buffer) {
    this.header = header;
    this.size = header.virtualSize;
    // A data file that the header does not ask for is not read, as in QEMU.
    this.#data = header.dataFile === undefined ? host : (parts.dataFile ?? host);
    this.#owned = [host, parts.dataFile, parts.backing];
    this.#backing = parts.backing;
    const rules = {
      geometry: geometryOf(header.clusterBits, header.extendedL2),
      version: header.version,
      externalData: header.dataFile !== undefined,
      fileSize: host.size,
      image: parts.name,
    };
    this.#map = new ClusterMap(
      rules,
      l1,
      new TableCache(host, rules.geometry.clusterSize, parts.tableCacheBytes),
    );
    this.#compressed = new CompressedReader(host, header, parts.name);
  }

  /**
   * Checks the header and loads the L1 table. On failure nothing is closed.
   * @param host the image's file.
   * @throws ImgstoreError `BAD_IMAGE`, or `UNSUPPORTED` for encryption and unknown features.
   */
  static async open(host: BlockSource, parts: Qcow2Parts): Promise<Qcow2Image> {
    const header = await readHeader(host, parts.name);
    refuseEncrypted(header, parts.name);
    if (header.dataFile !== undefined && parts.dataFile === undefined) {
      throw badImage(parts.name, 'keeps its data in an external data file, which is not at hand');
    }
    const bytes = header.l1Entries * TABLE_ENTRY_BYTES;
    if (header.l1Offset > host.size - bytes) {
      throw badImage(
        parts.name,
        `the L1 table at offset ${header.l1Offset} of ${bytes} bytes leaves the file of ${host.size} bytes: is the file cut off?`,
        { field: 'l1_table_offset', value: header.l1Offset },
      );
    }
    const l1 = Buffer.allocUnsafe(usedL1Bytes(header));
    await host.read(header.l1Offset, l1);
    return new Qcow2Image(header, host, parts, l1);
  }

  async *extents(offset: number, length: number): AsyncIterable<Extent> {
    checkRange(this.size, offset, length);
    yield* coalesce(layerExtents(this.#map, this.#data, this.#backing, offset, offset + length));
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    checkRange(this.size, offset, into.length);
    const end = offset + into.length;
    let reads: Promise<void>[] = [];
    const compressed: CompressedPart[] = [];
    try {
      for (let at = offset; at < end; ) {
        const found = this.#map.runAt(at, end);
        const run = found instanceof Promise ? await found : found;
        const part = run.length === into.length ? into : into.subarray(at - offset, at - offset + run.length);
        switch (run.kind) {
          case 'zero':
            part.fill(0);
            break;
          case 'compressed':
            compressed.push({ guest: at, host: run.host, stored: run.stored, into: part });
            break;
          case 'data':
            reads.push(started(readPadded(this.#data, run.host, part)));
            break;
          case 'unallocated':
            if (this.#backing === undefined) part.fill(0);
            else reads.push(started(readPadded(this.#backing, at, part)));
        }
        at += run.length;
        if (reads.length === READS_AT_ONCE) {
          const batch = reads;
          reads = [];
          await allDone(batch);
        }
      }
      if (compressed.length > 0) reads.push(started(this.#compressed.read(compressed)));
    } finally {
      await allDone(reads);
    }
  }

  async close(): Promise<void> {
    await allDone(this.#owned.map(async (part) => part?.close()));
  }
}

/** Bytes of the L1 table that describe the disk; what a VM's saved state uses comes after them. */
export function usedL1Bytes(header: Qcow2Header): number {
  const { l2Span } = geometryOf(header.clusterBits, header.extendedL2);
  return Math.ceil(header.virtualSize / l2Span) * TABLE_ENTRY_BYTES;
}

/** @throws ImgstoreError `UNSUPPORTED` when the image is encrypted. */
export function refuseEncrypted(header: Qcow2Header, name: string): void {
  if (header.encryption === undefined) return;
  const kind = header.encryption === 'luks' ? 'LUKS' : 'AES';
  throw unsupported(
    name,
    `is encrypted with ${kind}: imgstore reads no encrypted images: decrypt it first with qemu-img convert`,
    { field: 'crypt_method', value: header.encryption },
  );
}

/** A failure before anyone waits is no unhandled one: {@link allDone} asks for it later. */
function started(task: Promise<void>): Promise<void> {
  task.catch(() => {});
  return task;
}

/** Waits for all, then fails with the first failure: nothing may write to a caller's buffer once a call is over. */
async function allDone(tasks: readonly Promise<void>[]): Promise<void> {
  if (tasks.length === 1) return tasks[0];
  for (const result of await Promise.allSettled(tasks)) {
    if (result.status === 'rejected') throw result.reason;
  }
}
