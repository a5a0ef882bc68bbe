/**
 * git packs: many objects in one file, with an index to find them.
 *
 * Terms: an *entry* is one object in a pack, whole or as a *delta* against a *base* in the same pack; the *index* (idx) leads
 * from an id to the entry's offset, first by a *fan-out* table over the id's first byte; a *position* is a row of
 * the index; the *reverse index* (rev) holds the positions in the order of the pack.
 *
 * @module
 */
export { type ByteView, FileBytes, MemoryBytes } from './bytes.ts';
export { applyDelta, deltaSizes } from './delta/apply.ts';
export { type EntryHead, encodeEntryHead, parseEntryHead } from './entry.ts';
export { EntryTable } from './entry-table.ts';
export { type PackedObject, PackFolder } from './folder.ts';
export { encodePackHeader, PACK_HEADER_BYTES, PACK_TRAILER_BYTES, parsePackHeader } from './header.ts';
export { encodeIdx } from './idx/encode.ts';
export { Idx } from './idx/idx.ts';
export { Pack, type PackedStream } from './pack.ts';
export { encodeRev, Rev } from './rev.ts';
export { type PackableObject, PackWriter, PendingPack } from './writer.ts';
