import { dirname } from 'node:path';
import type { BlockSource, ComparedExtent } from '../../block/index.ts';
import type {
  DirtyRange,
  ForeignFormat,
  ImageFormat,
  ImageKey,
  PersistentBitmap,
  Qcow2Header,
  StandIn,
} from '../../qcow2/index.ts';
import type { KnownFiles } from '../stat-cache.ts';
import type { TrackedDisk } from '../track/name.ts';
import type { SourceFacts } from '../version/image-json.ts';
import type { VersionDisk } from '../version/version.ts';

/**
 * The formats that disks are read from. `luks` is never found by looking: a raw disk may begin with a LUKS header, and is
 * then stored as it is.
 */
export type DiskFormat = ImageFormat | ForeignFormat | 'luks';

/** What is said of an encrypted image behind its name. */
export const ENCRYPTED_NOTICE = 'is encrypted, but the store is not: it holds the disk as the key shows it';

/** How to open an image that is to be stored or compared. */
export interface OpenDiskOptions {
  /** What the user says; content and name decide otherwise. Not for exports of NBD servers, which have none. */
  readonly format?: DiskFormat | undefined;
  /** Folders from which backing files, data files and extents may come, besides the image's own. */
  readonly allowBacking?: readonly string[] | undefined;
  /** Goes on although a running QEMU writes to it. */
  readonly forceShare?: boolean | undefined;
  /** The locks on the image itself are the caller's. */
  readonly isLockedHere?: boolean | undefined;
  /** Of an export of a QEMU: its dirty bitmap that has, by the user's word, all that was written since the export held a disk of a version. */
  readonly bitmap?: { readonly name: string; readonly since: TrackedDisk } | undefined;
  /** The password of encrypted images. It is kept nowhere. */
  readonly key?: ImageKey | undefined;
  /** Who may have another disk in the place of a backing file that cannot be opened. */
  readonly standIn?: StandIn | undefined;
}

/** A disk that an image stands on, and what the image holds beside it. */
export interface DiskBase {
  /** What it is read from: a backing file with all below that. */
  readonly files: KnownFiles;
  /** Bytes. */
  readonly size: number;
  /** About how many bytes the files of the image above it hold. */
  readonly bytesAbove: number;
  /** The extents of the whole image: `same` where this disk shows through. */
  readonly extents: () => AsyncIterable<ComparedExtent>;
}

/** A disk, open for reading, and how its files looked before the first byte was read. */
export interface OpenDisk {
  readonly path: string;
  readonly source: BlockSource;
  readonly facts: SourceFacts;
  /** Real paths of the image and of every file that belongs to it, top first; none of an NBD export. */
  readonly paths: readonly string[];
  /** What the user should know: what of the image is not stored. */
  readonly notices: readonly string[];
  /** Bytes that the files take on disk; undefined where there are none, on an NBD server. */
  readonly allocatedBytes: number | undefined;
  /** About how many bytes there are to read, for progress: what the files take on disk, at most the disk's size. */
  readonly expectedBytes: number;
  /**
   * The image and every file that belongs to it, top first. Undefined when they do not tell what the disk holds: a block
   * device has no state to compare, an NBD export shows none, and the old encryption reads as something else with another key.
   */
  readonly files: KnownFiles | undefined;
  /** Persistent bitmaps of a qcow2. */
  readonly bitmaps?: (() => Promise<readonly PersistentBitmap[]>) | undefined;
  /** Of a qcow2. */
  readonly header?: Qcow2Header | undefined;
  /** What was written since it held a disk of a version, by the user's word. */
  readonly written?:
    | { readonly since: TrackedDisk; readonly dirty: () => AsyncIterable<DirtyRange> }
    | undefined;
  /** The disks below the image, the nearest first; none whose files do not tell what it holds. */
  readonly bases: readonly DiskBase[];
  /** The extents of the whole image, `same` where what stands in for a backing file shows through; undefined when nothing does. */
  readonly extentsAboveStandIn?: (() => AsyncIterable<ComparedExtent>) | undefined;
  /** The version's disk that stands in. */
  readonly onto?: VersionDisk | undefined;
  /** When they were looked at: nanoseconds since 1970. */
  readonly lookedNs: bigint;
  /** Throws `IN_USE` when a file has changed since. */
  readonly refuseChanged: () => Promise<void>;
}

/** The folders that names in an image may lead to; undefined for the image's own. */
export function allowedFolders(
  path: string,
  { allowBacking }: OpenDiskOptions,
): readonly string[] | undefined {
  return allowBacking === undefined || allowBacking.length === 0
    ? undefined
    : [dirname(path), ...allowBacking];
}
