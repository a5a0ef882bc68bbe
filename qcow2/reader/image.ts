import {
  allDone,
  type BlockSource,
  type ComparedExtent,
  type ComparedKind,
  checkRange,
  type Extent,
  type FilePiece,
} from '../../block/index.ts';
import { ImgstoreError } from '../../errors/index.ts';
import type { DiskCipher } from '../crypto/disk-cipher.ts';
import { KeyWork } from '../crypto/key-work.ts';
import { openCipher } from '../crypto/open-cipher.ts';
import { badImage, unsupported } from '../meta/fault.ts';
import { geometryOf } from '../meta/geometry.ts';
import { firstClusterSize, parseHeader, type Qcow2Header } from '../meta/header.ts';
import { findSnapshot, type Snapshot, type SnapshotSpace, snapshotSpace } from '../meta/snapshot.ts';
import { type PersistentBitmap, readBitmaps } from './bitmaps.ts';
import { ClusterMap } from './cluster-map.ts';
import { CompressedReader } from './compressed-reader.ts';
import type { ExtentSource } from './extents.ts';
import { EncryptedData, PlainData } from './guest-data.ts';
import { GuestSpace } from './guest-space.ts';
import { readL1, usedL1Bytes } from './l1-table.ts';
import { readSnapshots } from './snapshots.ts';
import { TableCache } from './table-cache.ts';
import type { L1Host } from './table-claims.ts';
import { VmState } from './vm-state.ts';

/** The header of nearly every image fits this; the rest of a larger first cluster is read when it is needed. */
const FIRST_READ_BYTES = 64 * 1024;

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
  /** Bytes that the image's file takes on its disk, to tell tables in holes by; undefined when that is not known. */
  readonly storedBytes?: number | undefined;
  /** The password's bytes, for an encrypted image. */
  readonly key?: Uint8Array | undefined;
  /** What the key may cost, shared with other images; 10 seconds if not said. */
  readonly keyWork?: KeyWork | undefined;
  /** Id or name of an internal snapshot: the disk is then what it was when that was taken. */
  readonly snapshot?: string | undefined;
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

/** What {@link Qcow2Image.open} has found out. */
interface Opened {
  readonly host: BlockSource;
  readonly header: Qcow2Header;
  readonly cipher: DiskCipher | undefined;
  readonly l1: Buffer;
  readonly size: number;
  readonly snapshot: Snapshot | undefined;
  /** Of the snapshot. */
  readonly space: SnapshotSpace | undefined;
}

/** A qcow2 image over its host file: one layer, which passes reads of what it does not hold to its backing. */
export class Qcow2Image implements BlockSource {
  readonly header: Qcow2Header;
  readonly size: number;
  /** The internal snapshot that this disk is, if it was opened as one. */
  readonly snapshot: Snapshot | undefined;
  readonly #host: BlockSource;
  readonly #parts: Qcow2Parts;
  readonly #cipher: DiskCipher | undefined;
  readonly #owned: readonly (BlockSource | undefined)[];
  readonly #disk: GuestSpace;
  readonly #vmState: VmState | undefined;

  private constructor(
    { host, header, cipher, l1, size, snapshot, space }: Opened,
    parts: Qcow2Parts,
    owned: readonly (BlockSource | undefined)[],
  ) {
    this.header = header;
    this.size = size;
    this.snapshot = snapshot;
    this.#host = host;
    this.#parts = parts;
    this.#cipher = cipher;
    this.#owned = owned;
    const rules = {
      geometry: geometryOf(header.clusterBits, header.extendedL2),
      version: header.version,
      externalData: header.dataFile !== undefined,
      fileSize: host.size,
      image: parts.name,
    };
    // A data file that the header does not ask for is not read, as in QEMU.
    const data = header.dataFile === undefined ? host : (parts.dataFile ?? host);
    const shared = {
      map: new ClusterMap(rules, l1, new TableCache(host, rules.geometry.clusterSize, parts.tableCacheBytes)),
      data: cipher === undefined ? new PlainData(data) : new EncryptedData(data, cipher),
      compressed: new CompressedReader(host, header, parts.name),
      // In a data file every cluster is at its own place, so that none can be named twice; the file may be cut short.
      mostData: rules.externalData ? Number.POSITIVE_INFINITY : host.size + rules.geometry.clusterSize,
      image: parts.name,
    };
    this.#disk = new GuestSpace({ ...shared, backing: parts.backing });
    // What a VM's state does not have is not in a backing file either: that ends with the disk.
    this.#vmState =
      space === undefined || space.vmStateSize === 0
        ? undefined
        : new VmState(new GuestSpace({ ...shared, backing: undefined }), space);
  }

  /**
   * Checks the header, opens the key and loads the L1 table. On failure nothing is closed.
   * @param host the image's file.
   * @throws ImgstoreError `BAD_IMAGE`; `UNSUPPORTED` for unknown features, without a key for an encrypted image, and
   * for a key that takes too long; `WRONG_KEY` for a wrong key; `NOT_FOUND` for a snapshot that is not there.
   */
  static async open(host: BlockSource, parts: Qcow2Parts): Promise<Qcow2Image> {
    const header = await readHeader(host, parts.name);
    if (header.dataFile !== undefined && parts.dataFile === undefined) {
      throw badImage(parts.name, 'keeps its data in an external data file, which is not at hand');
    }
    const view = await (parts.snapshot === undefined
      ? activeView(host, header, parts)
      : snapshotView(host, header, parts.snapshot, parts));
    const cipher = await openCipher(host, header, parts.key, parts.keyWork ?? new KeyWork(), parts.name);
    return new Qcow2Image({ host, header, cipher, ...view }, parts, [host, parts.dataFile, parts.backing]);
  }

  /**
   * The disk as it was when an internal snapshot of this image was taken. It reads through this image's files: closing it closes nothing.
   * @param snapshot one of {@link snapshots}
   * @throws ImgstoreError `BAD_IMAGE` for tables that are not valid, `UNSUPPORTED` with an external data file
   */
  async at(snapshot: Snapshot): Promise<Qcow2Image> {
    const [host, header] = [this.#host, this.header];
    const view = await viewOf(host, header, snapshot, this.#parts);
    return new Qcow2Image({ host, header, cipher: this.#cipher, ...view }, this.#parts, []);
  }

  async *extents(offset: number, length: number): AsyncIterable<Extent> {
    checkRange(this.size, offset, length);
    yield* this.#disk.extents(offset, length);
  }

  /**
   * As {@link extents}, of the layers above `base` alone: `same` where they hold nothing and `base` shows through.
   * @param base one of the disks below this one; of any other disk nothing shows
   */
  async *extentsAbove(base: BlockSource, offset: number, length: number): AsyncIterable<ComparedExtent> {
    checkRange(this.size, offset, length);
    const { backing } = this.#parts;
    if (backing === undefined) yield* this.#disk.extents(offset, length);
    else yield* this.#disk.extentsOver(backingBeside(backing, base), offset, length);
  }

  /** Whether another disk is a state of this image too, through the same files. */
  sharesFile(other: Qcow2Image): boolean {
    return other.#host === this.#host && other.#parts.backing === this.#parts.backing;
  }

  /**
   * As {@link extents}, but `same` where another state of this image has the same clusters: clusters that two internal snapshots share
   * are not listed, and tables that they share are not read.
   * @param before from {@link at}, or the image that this came from
   */
  async *extentsSince(before: Qcow2Image, offset: number, length: number): AsyncIterable<ComparedExtent> {
    checkRange(this.size, offset, length);
    const beside = this.sharesFile(before) ? Math.min(length, Math.max(0, before.size - offset)) : 0;
    if (beside > 0) yield* this.#disk.extentsSince(before.#disk, offset, beside);
    if (beside < length) yield* this.#disk.extents(offset + beside, length - beside);
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    checkRange(this.size, offset, into.length);
    await this.#disk.read(offset, into);
  }

  async locate(offset: number, length: number): Promise<readonly FilePiece[] | undefined> {
    checkRange(this.size, offset, length);
    return await this.#disk.locate(offset, length);
  }

  /** The image's internal snapshots, oldest first. @throws ImgstoreError `BAD_IMAGE` for a table that is not valid. */
  snapshots(): Promise<readonly Snapshot[]> {
    return readSnapshots(this.#host, this.header, this.#parts.name);
  }

  /**
   * The image's persistent bitmaps, which tell what was written to its present disk, not to a snapshot's.
   * @throws ImgstoreError `BAD_IMAGE` for a directory that is not valid.
   */
  bitmaps(): Promise<readonly PersistentBitmap[]> {
    return readBitmaps(this.#host, this.header, this.#parts.name);
  }

  /** The VM's state that was saved with the snapshot, if the image was opened as one and has it. */
  vmState(): BlockSource | undefined {
    return this.#vmState;
  }

  async close(): Promise<void> {
    await allDone(this.#owned.map(async (part) => part?.close()));
  }
}

type View = Pick<Opened, 'l1' | 'size' | 'snapshot' | 'space'>;

/** The disk as it is. */
async function activeView(host: BlockSource, header: Qcow2Header, parts: Qcow2Parts): Promise<View> {
  const { l1Offset: offset, l1Entries: entries, virtualSize: size } = header;
  const place = { offset, entries, what: 'the L1 table', field: 'l1_table_offset' };
  const l1 = await readL1(l1Host(host, header, parts), place, usedL1Bytes(header));
  return { l1, size, snapshot: undefined, space: undefined };
}

/** What {@link Qcow2Image.extentsAbove} sees of the backing: where it is `base` itself, the same all over. */
function backingBeside(backing: BlockSource, base: BlockSource): ExtentSource<ComparedKind> {
  const { size } = backing;
  if (backing === base)
    return {
      size,
      extents: async function* (offset, length) {
        yield { offset, length, kind: 'same' };
      },
    };
  if (!(backing instanceof Qcow2Image)) return backing;
  return { size, extents: (offset, length) => backing.extentsAbove(base, offset, length) };
}

/** The disk as it was when a snapshot was taken that the user named. */
async function snapshotView(
  host: BlockSource,
  header: Qcow2Header,
  wanted: string,
  parts: Qcow2Parts,
): Promise<View> {
  const image = parts.name;
  const snapshot = findSnapshot(await readSnapshots(host, header, image), wanted);
  if (snapshot === undefined) {
    throw new ImgstoreError('NOT_FOUND', `${image}: has no internal snapshot ${JSON.stringify(wanted)}`, {
      path: image,
      snapshot: wanted,
    });
  }
  return viewOf(host, header, snapshot, parts);
}

/** The disk as it was when a snapshot was taken, with the VM's state behind it. */
async function viewOf(
  host: BlockSource,
  header: Qcow2Header,
  snapshot: Snapshot,
  parts: Qcow2Parts,
): Promise<View> {
  if (header.dataFile !== undefined) {
    throw unsupported(parts.name, 'keeps its data in an external data file, which has no internal snapshots');
  }
  const space = snapshotSpace(snapshot, header, parts.name);
  const place = {
    offset: snapshot.l1Offset,
    entries: snapshot.l1Entries,
    what: `the L1 table of snapshot ${JSON.stringify(snapshot.id)}`,
    field: 'l1_table_offset',
  };
  const used = usedL1Bytes(header, space.vmStateOffset + space.vmStateSize);
  const l1 = await readL1(l1Host(host, header, parts), place, used);
  return { l1, size: space.diskSize, snapshot, space };
}

function l1Host(source: BlockSource, header: Qcow2Header, { storedBytes, name }: Qcow2Parts): L1Host {
  return { source, storedBytes, clusterSize: 2 ** header.clusterBits, image: name };
}
