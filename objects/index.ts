/**
 * git's objects in SHA-256 format, and the cluster map that imgstore builds out of them.
 *
 * Terms: an *object* is a blob, tree, commit or tag, named by the SHA-256 of its header and data; a *loose* object is a
 * zlib file of its own; a *cluster* is a fixed-size piece of a disk, stored as a blob; a *cluster map* is a tree of trees
 * that leads from a cluster's number to its blob; a *codec* is one implementation of a hash or a compression.
 *
 * @module
 */
export { type DeflateCodec, deflateRoom, mostInflated, PREFIX_STREAM_BYTES } from './codec/deflate.ts';
export { loadIsal } from './codec/deflate-isal.ts';
export { loadLibdeflate } from './codec/deflate-libdeflate.ts';
export { nodeDeflate } from './codec/deflate-node.ts';
export { onDemand } from './codec/deflate-on-demand.ts';
export { pakoDeflate } from './codec/deflate-pako.ts';
export type { Hash, HashCodec } from './codec/hash.ts';
export { loadIpsecMb } from './codec/hash-ipsec-mb.ts';
export { nobleHash } from './codec/hash-noble.ts';
export { nodeHash } from './codec/hash-node.ts';
export { hashOnDemand } from './codec/hash-on-demand.ts';
export { inflateMeasured } from './codec/inflate-measured.ts';
export { type Codecs, codecs, portableCodecs, selectCodecs, zlibCodecs } from './codec/select.ts';
export { storedLength, storeInstead } from './codec/stored.ts';
export { type Commit, encodeCommit, parseCommit, subject } from './commit.ts';
export { ObjectFrames } from './frames.ts';
export type { HeaderLine } from './headers.ts';
export { ID_BYTES, ID_DIGITS, idFromBytes, idToBytes, isId, NULL_ID, type ObjectId } from './id.ts';
export { LooseBatch } from './loose/batch.ts';
export { parseLoose, parseLooseHeader } from './loose/decode.ts';
export { looseFromDeflated } from './loose/encode.ts';
export { FAN_OUT_DIGITS, LooseObjects } from './loose/folder.ts';
export { diffMaps, type MapChange } from './map/diff.ts';
export { MapEditor, type WriteTree } from './map/editor.ts';
export {
  clusterCount,
  clustersPerSlot,
  FAN_OUT,
  type MapRoot,
  MOST_LEVELS,
  mapLevels,
} from './map/geometry.ts';
export { MapLookup } from './map/lookup.ts';
export { emptyNode, encodeNode, type MapNode, parseNode } from './map/node.ts';
export {
  type MapLeaf,
  type ReadTree,
  readNode,
  type SkipNode,
  type UnreadableNode,
  walkMap,
} from './map/walk.ts';
export {
  encodeObjectHeader,
  type GitObject,
  MOST_OBJECT_BYTES,
  type ObjectHeader,
  type ObjectType,
  objectId,
  parseObjectHeader,
  verifyObject,
} from './object.ts';
export { encodePerson, isoDate, type Person, parsePerson } from './person.ts';
export { encodeTag, parseTag, type Tag } from './tag.ts';
export {
  compareEntries,
  encodeTree,
  isFolder,
  MODE_FILE,
  MODE_FOLDER,
  parseTree,
  type TreeEntry,
} from './tree.ts';
