/**
 * The qcow2 format: reading images and chains of them, and writing new ones.
 *
 * Terms, as the specification (docs/interop/qcow2 of QEMU) has them:
 * - *cluster*: the unit of allocation, 512 bytes to 2 MiB, both of the guest's disk (*guest cluster*) and of the
 *   image's file (*host cluster*);
 * - *L1 table*, *L2 table*: the two levels that map guest clusters to host clusters. The L1 table is held whole
 *   and points at L2 tables, each one cluster;
 * - *unallocated*: without an entry; reads from the backing file, or as zeros;
 * - *zero cluster*: an entry that says "zeros" and hides the backing file (version 3);
 * - *compressed cluster*: stored as a deflate or zstd stream at any byte of the file;
 * - *subcluster*, *extended L2 entry*: a 32nd of a cluster, and the 16-byte entry that maps each on its own;
 * - *refcount*: uses of a host cluster, in *blocks* that the *refcount table* points at. Readers need none of it;
 * - *backing file*: another image, below this one, that is read where this one has nothing; a *chain* of *layers*;
 * - *external data file*: a second file that holds the guest's clusters, each at its own guest offset; *raw* if
 *   it can be used alone;
 * - *internal snapshot*: a second L1 table in the same file;
 * - *persistent bitmap*: which clusters changed since some time, stored in the image;
 * - *corrupt*, *dirty*: marks of a writer that found damage, or did not finish its refcounts; both can be read.
 *
 * `meta/` parses and encodes bytes and touches no file; `crypto/` finds keys and decrypts; `reader/` reads one image
 * over its file; `chain/` decides which files belong together and may be opened; `writer/` makes new images;
 * `update/` changes clusters of one that is there; `check/` tells what is wrong with one.
 *
 * @module
 */
export type {
  BitmapFacts,
  ImageDetails,
  ImageFacts,
  Qcow2Details,
  Qcow2Facts,
  SnapshotFacts,
} from './chain/facts.ts';
export { FOREIGN_FORMATS, type ForeignFormat, type FoundForeign, findForeign } from './chain/foreign.ts';
export { type FoundFormat, type ImageFormat, topFormat } from './chain/format.ts';
export { describeImage, type OpenedImage, openImage } from './chain/open.ts';
export type { Encryption, ImageKey, OpenOptions, StandIn } from './chain/options.ts';
export { FilePolicy, type FileRole } from './chain/policy.ts';
export type { Layer } from './chain/stack.ts';
export { type CheckReport, checkImage, type Verdict } from './check/check.ts';
export type { Finding, FindingKind } from './check/findings.ts';
export { BITMAP_FLAWS, type BitmapFlaw } from './meta/bitmap.ts';
export type { RawExtension } from './meta/extensions.ts';
export { type CompressionType, parseHeader, type Qcow2Header } from './meta/header.ts';
export type { HeaderExtension } from './meta/header-encode.ts';
export { MAX_CLUSTER_SIZE, MIN_CLUSTER_SIZE, wholeSectors } from './meta/layout.ts';
export type { Snapshot } from './meta/snapshot.ts';
export type { DirtyRange } from './reader/bitmap-bits.ts';
export { readBitmapNames } from './reader/bitmap-names.ts';
export type { PersistentBitmap } from './reader/bitmaps.ts';
export { Qcow2Image, type Qcow2Parts, readHeader } from './reader/image.ts';
export { l2TableOffset } from './reader/l2-offset.ts';
export { LuksDisk, type LuksDiskParts, luksDiskSize } from './reader/luks-disk.ts';
export { headerAlone, headerOn, type NewBacking } from './update/backing.ts';
export { type FreshBitmap, startBitmap } from './update/bitmaps.ts';
export { type ClusterPlace, type GuestRun, ImageUpdate } from './update/update.ts';
export { refuseUnwritable } from './update/writable.ts';
export type { BitmapOptions } from './writer/bitmap-writer.ts';
export type { SubclusterBits } from './writer/cluster-entries.ts';
export { type ClusterCompressor, loadCompressor } from './writer/compress.ts';
export type { Qcow2WriterOptions, TablePlaces } from './writer/options.ts';
export type { SnapshotOptions } from './writer/snapshot-list.ts';
export { type HostRun, Qcow2Writer } from './writer/writer.ts';
