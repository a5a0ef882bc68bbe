import { createHmac, timingSafeEqual } from 'node:crypto';
import { isId, type ObjectId } from '../../objects/index.ts';
import type { HeaderExtension, RawExtension } from '../../qcow2/index.ts';
import { isEntryName } from '../version/image-json.ts';

/*
 * The origin extension of a qcow2 header (docs/format/qcow2.md): what imgstore has checked out into the file.
 *
 *   0   u32 layout, 1                     4   u32 zeros
 *   8   u64 offset of the L1 table        16  u64 offset of the refcount table
 *   24  u64 first cluster that is mapped, counted from 1; 0: none is
 *   32  32 bytes id of the commit         64  32 bytes id of the base's commit; zeros: none is known
 *   96  32 bytes HMAC-SHA-256 under the store's key of all other bytes
 *   128 names: disk, base's disk, backing file, each with its u16 length before it
 */
export const TYPE_ORIGIN = 0x494d4753;

const LAYOUT = 1;
const LAYOUT_AT = 0;
const L1_AT = 8;
const REFCOUNT_TABLE_AT = 16;
const FIRST_CLUSTER_AT = 24;
const COMMIT_AT = 32;
const BASE_AT = 64;
const SEAL_AT = 96;
const NAMES_AT = 128;
const ID_BYTES = 32;
const LENGTH_BYTES = 2;
const NO_BASE = '0'.repeat(2 * ID_BYTES);

/** A version's disk. */
export interface OriginDisk {
  readonly commit: ObjectId;
  readonly disk: string;
}

/** What an image's header says that was checked out into it. Anybody can write such a header. */
export interface Origin extends OriginDisk {
  /** What the backing file held, and the name that it had in the header, when the overlay was made. */
  readonly base: (OriginDisk & { readonly file: string }) | undefined;
  /** Where the tables were then, in bytes: QEMU lays them elsewhere when it empties an overlay. */
  readonly l1Offset: number;
  readonly refcountTableOffset: number;
  /** The first cluster that the file had an entry for then; undefined when it had none. */
  readonly firstCluster: number | undefined;
}

/** Encodes the extension's data, sealed with the store's key; without one the seal is zeros, which no store takes for its own. */
export function encodeOrigin(origin: Origin, key: Uint8Array | undefined): HeaderExtension {
  const { base } = origin;
  const names = [origin.disk, base?.disk ?? '', base?.file ?? ''].map((name) => {
    const bytes = Buffer.from(name);
    const length = Buffer.alloc(LENGTH_BYTES);
    length.writeUInt16BE(bytes.length);
    return Buffer.concat([length, bytes]);
  });
  const data = Buffer.concat([Buffer.alloc(NAMES_AT), ...names]);
  data.writeUInt32BE(LAYOUT, LAYOUT_AT);
  data.writeBigUInt64BE(BigInt(origin.l1Offset), L1_AT);
  data.writeBigUInt64BE(BigInt(origin.refcountTableOffset), REFCOUNT_TABLE_AT);
  data.writeBigUInt64BE(BigInt((origin.firstCluster ?? -1) + 1), FIRST_CLUSTER_AT);
  data.write(origin.commit, COMMIT_AT, 'hex');
  data.write(base?.commit ?? NO_BASE, BASE_AT, 'hex');
  if (key !== undefined) data.set(sealOf(data, key), SEAL_AT);
  return { type: TYPE_ORIGIN, data };
}

/** Parses the origin among a header's extensions; undefined when there is none, or none that this reader understands. */
export function parseOrigin(extensions: readonly RawExtension[]): Origin | undefined {
  const found = extensions.filter(({ type }) => type === TYPE_ORIGIN);
  if (found.length !== 1) return undefined;
  const data = Buffer.from(found[0]!.data);
  if (data.length < NAMES_AT || data.readUInt32BE(LAYOUT_AT) !== LAYOUT) return undefined;
  const names = parseNames(data);
  if (names === undefined) return undefined;
  const [disk, baseDisk, file] = names;
  const commit = data.toString('hex', COMMIT_AT, COMMIT_AT + ID_BYTES);
  const baseCommit = data.toString('hex', BASE_AT, BASE_AT + ID_BYTES);
  const firstCluster = Number(data.readBigUInt64BE(FIRST_CLUSTER_AT)) - 1;
  const hasBase = baseCommit !== NO_BASE;
  if (!isId(commit) || !isEntryName(disk) || (hasBase && !isEntryName(baseDisk))) return undefined;
  return {
    commit,
    disk,
    base: hasBase ? { commit: baseCommit, disk: baseDisk, file } : undefined,
    // Above 2^53 they are no offsets of any file, and equal none that a header is read with.
    l1Offset: Number(data.readBigUInt64BE(L1_AT)),
    refcountTableOffset: Number(data.readBigUInt64BE(REFCOUNT_TABLE_AT)),
    firstCluster: firstCluster < 0 ? undefined : firstCluster,
  };
}

/** Whether the origin among a header's extensions, which can be parsed, was sealed with a key. */
export function isSealedWith(extensions: readonly RawExtension[], key: Uint8Array): boolean {
  const extension = extensions.find(({ type }) => type === TYPE_ORIGIN);
  if (extension === undefined || extension.data.length < NAMES_AT) return false;
  const data = Buffer.from(extension.data);
  return timingSafeEqual(data.subarray(SEAL_AT, NAMES_AT), sealOf(data, key));
}

function sealOf(data: Uint8Array, key: Uint8Array): Uint8Array {
  return createHmac('sha256', key).update(data.subarray(0, SEAL_AT)).update(data.subarray(NAMES_AT)).digest();
}

/** The three names, which fill the data's rest to the byte. */
function parseNames(data: Buffer): readonly [string, string, string] | undefined {
  const names: string[] = [];
  let at = NAMES_AT;
  while (names.length < 3) {
    if (at + LENGTH_BYTES > data.length) return undefined;
    const end = at + LENGTH_BYTES + data.readUInt16BE(at);
    if (end > data.length) return undefined;
    names.push(data.toString('utf8', at + LENGTH_BYTES, end));
    at = end;
  }
  return at === data.length ? (names as [string, string, string]) : undefined;
}
