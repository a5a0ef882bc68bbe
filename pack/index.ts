/**
 * git packs: many objects in one file, with an index to find them.
 *
 * Terms: an *entry* is one object in a pack, whole or as a *delta* against a *base* in the same pack; the *index* (idx) leads
 * from an id to the entry's offset, first by a *fan-out* table over the id's first byte; a *position* is a row of
 * the index; the *reverse index* (rev) holds the positions in the order of the pack; a *multi-pack-index* (midx) leads from an id to
 * pack and offset, for all packs that it *covers*.
 *
 * @module
 */
export { type ByteView, FileBytes, MemoryBytes } from './bytes.ts';
export { checksumFits, checksumOfBody } from './checksum.ts';
export { applyDelta, deltaSizes } from './delta/apply.ts';
export { DeltaBase } from './delta/base-index.ts';
export { encodeDelta } from './delta/encode.ts';
export {
  type EntryHead,
  encodeEntryHead,
  encodeOfsDeltaHead,
  MOST_ENTRY_HEAD_BYTES,
  parseEntryHead,
} from './entry.ts';
export { EntryEnds } from './entry-ends.ts';
export { EntryTable } from './entry-table.ts';
export { type PackedObject, PackFolder } from './folder.ts';
export { encodePackHeader, PACK_HEADER_BYTES, PACK_TRAILER_BYTES, parsePackHeader } from './header.ts';
export { encodeIdx } from './idx/encode.ts';
export { Idx } from './idx/idx.ts';
export { lowerBound } from './lower-bound.ts';
export { type FinishedMemoryPack, MemoryPack } from './memory-pack.ts';
export { isOutOfResources } from './midx/current.ts';
export { encodeMidx } from './midx/encode.ts';
export { MIDX_FILE } from './midx/layout.ts';
export type { MidxSource } from './midx/merge.ts';
export { Midx, type MidxPlace } from './midx/midx.ts';
export { refuseHeldMidx, removeMidx, writeMidx, writeMidxInto } from './midx/write.ts';
export { encodeMtimes, Mtimes } from './mtimes.ts';
export { PackOrder } from './order.ts';
export { Pack } from './pack.ts';
export { type PackedEntry, readBlob } from './packed-blob.ts';
export { PendingPack } from './pending-pack.ts';
export { type RawEntry, readRawEntry } from './raw-entry.ts';
export { encodeRev, Rev } from './rev.ts';
export { type ScannedEntry, ScannedPack, scanPack } from './scan.ts';
export { SKETCH_FEATURES, sketch } from './sketch/sketch.ts';
export {
  type PackedStream,
  type PackedStreams,
  readStreams,
} from './streams.ts';
export { PackSurvey } from './survey.ts';
export { type PackableDelta, type PackableObject, PackWriter } from './writer.ts';
