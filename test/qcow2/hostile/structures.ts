import * as bitmap from '../../../qcow2/meta/bitmap-layout.ts';
import { TYPE_BITMAPS, TYPE_CRYPTO_HEADER } from '../../../qcow2/meta/extensions.ts';
import * as layout from '../../../qcow2/meta/layout.ts';
import * as snapshot from '../../../qcow2/meta/snapshot-layout.ts';

/** A number of a structure of an image, which a hostile one may have set to anything. */
export interface StructureField {
  /** `header`, `L1 table`. */
  readonly structure: string;
  /** As the specification has it; for tables the kind of the entry. */
  readonly field: string;
  /** Byte of the file. */
  readonly at: number;
  readonly bytes: 1 | 2 | 4 | 8;
}

type Places = readonly (readonly [field: string, at: number, bytes: StructureField['bytes']])[];

const OFFSET_MASK = 0x00ff_ffff_ffff_fe00n;
const COMPRESSED = 1n << 62n;
const INCOMPATIBLE_EXTENDED_L2 = 1n << 4n;

const HEADER_V2: Places = [
  ['magic', layout.MAGIC_AT, 4],
  ['version', layout.VERSION_AT, 4],
  ['backing_file_offset', layout.BACKING_OFFSET_AT, 8],
  ['backing_file_size', layout.BACKING_SIZE_AT, 4],
  ['cluster_bits', layout.CLUSTER_BITS_AT, 4],
  ['size', layout.SIZE_AT, 8],
  ['crypt_method', layout.CRYPT_METHOD_AT, 4],
  ['l1_size', layout.L1_SIZE_AT, 4],
  ['l1_table_offset', layout.L1_OFFSET_AT, 8],
  ['refcount_table_offset', layout.REFCOUNT_TABLE_OFFSET_AT, 8],
  ['refcount_table_clusters', layout.REFCOUNT_TABLE_CLUSTERS_AT, 4],
  ['nb_snapshots', layout.SNAPSHOT_COUNT_AT, 4],
  ['snapshots_offset', layout.SNAPSHOTS_OFFSET_AT, 8],
];
const HEADER_V3: Places = [
  ...HEADER_V2,
  ['incompatible_features', layout.INCOMPATIBLE_AT, 8],
  ['compatible_features', layout.COMPATIBLE_AT, 8],
  ['autoclear_features', layout.AUTOCLEAR_AT, 8],
  ['refcount_order', layout.REFCOUNT_ORDER_AT, 4],
  ['header_length', layout.HEADER_LENGTH_AT, 4],
  ['compression_type', layout.COMPRESSION_TYPE_AT, 1],
];
const SNAPSHOT: Places = [
  ['l1_table_offset', snapshot.L1_OFFSET_AT, 8],
  ['l1_size', snapshot.L1_SIZE_AT, 4],
  ['id_str_size', snapshot.ID_SIZE_AT, 2],
  ['name_size', snapshot.NAME_SIZE_AT, 2],
  ['date_sec', snapshot.DATE_SECONDS_AT, 4],
  ['date_nsec', snapshot.DATE_NANOSECONDS_AT, 4],
  ['vm_clock_nsec', snapshot.VM_CLOCK_AT, 8],
  ['vm_state_size', snapshot.VM_STATE_SIZE_AT, 4],
  ['extra_data_size', snapshot.EXTRA_SIZE_AT, 4],
  ['vm_state_size of 64 bits', snapshot.LARGE_VM_STATE_SIZE_AT, 8],
  ['disk_size', snapshot.DISK_SIZE_AT, 8],
];
const BITMAP: Places = [
  ['bitmap_table_offset', bitmap.TABLE_OFFSET_AT, 8],
  ['bitmap_table_size', bitmap.TABLE_SIZE_AT, 4],
  ['flags', bitmap.FLAGS_AT, 4],
  ['type', bitmap.TYPE_AT, 1],
  ['granularity_bits', bitmap.GRANULARITY_BITS_AT, 1],
  ['name_size', bitmap.NAME_SIZE_AT, 2],
  ['extra_data_size', bitmap.EXTRA_SIZE_AT, 4],
];
const BITMAPS_EXTENSION: Places = [
  ['nb_bitmaps', bitmap.COUNT_AT, 4],
  ['bitmap_directory_size', bitmap.DIRECTORY_SIZE_AT, 8],
  ['bitmap_directory_offset', bitmap.DIRECTORY_OFFSET_AT, 8],
];
const CRYPTO_EXTENSION: Places = [
  ['offset', 0, 8],
  ['length', 8, 8],
];
/** LUKS1 On-Disk Format Specification, "PHDR layout", with its first key slot in use. */
const LUKS: Places = [
  ['magic', 0, 4],
  ['version', 6, 2],
  ['cipher_name', 8, 4],
  ['cipher_mode', 40, 4],
  ['hash', 72, 4],
  ['payload_offset', 104, 4],
  ['key_bytes', 108, 4],
  ['mk_digest', 112, 8],
  ['mk_digest_salt', 132, 8],
  ['mk_digest_iterations', 164, 4],
];
const LUKS_SLOTS_AT = 208;
const LUKS_SLOT_BYTES = 48;
const LUKS_SLOT_USED = 0x00ac71f3;
const LUKS_SLOT: Places = [
  ['active', 0, 4],
  ['iterations', 4, 4],
  ['salt', 8, 8],
  ['key_material_offset', 40, 4],
  ['stripes', 44, 4],
];

/**
 * Every field of every structure of a valid image; of each kind of entry of a table the first one. What comes of the
 * others cannot differ, and the fuzzer changes them too.
 */
export function structureFields(image: Buffer): StructureField[] {
  const version = image.readUInt32BE(layout.VERSION_AT);
  return [
    ...placed('header', 0, version === 2 ? HEADER_V2 : HEADER_V3),
    ...extensions(image, version),
    ...mapFields(image, 'active', 'L1 table', Number(image.readBigUInt64BE(layout.L1_OFFSET_AT))),
    ...refcountFields(image),
    ...snapshotFields(image),
  ];
}

/** Where the structures of an image begin, in bytes: where each could be told to lie instead of another. */
export function structurePlaces(image: Buffer): number[] {
  const places = new Set<number>([0]);
  const l1 = Number(image.readBigUInt64BE(layout.L1_OFFSET_AT));
  const refcounts = Number(image.readBigUInt64BE(layout.REFCOUNT_TABLE_OFFSET_AT));
  for (const at of [l1, refcounts]) {
    places.add(at);
    places.add(pointer(image, at));
  }
  if (image.readUInt32BE(layout.SNAPSHOT_COUNT_AT) > 0) {
    const table = Number(image.readBigUInt64BE(layout.SNAPSHOTS_OFFSET_AT));
    places.add(table);
    places.add(Number(image.readBigUInt64BE(table)));
  }
  return [...places];
}

function placed(structure: string, start: number, places: Places): StructureField[] {
  return places.map(([field, at, bytes]) => ({ structure, field, at: start + at, bytes }));
}

function pointer(image: Buffer, at: number): number {
  return Number(image.readBigUInt64BE(at) & OFFSET_MASK);
}

function extensions(image: Buffer, version: number): StructureField[] {
  const fields: StructureField[] = [];
  let at = version === 2 ? layout.V2_HEADER_BYTES : image.readUInt32BE(layout.HEADER_LENGTH_AT);
  for (;;) {
    const type = image.readUInt32BE(at);
    const length = image.readUInt32BE(at + 4);
    const structure = `header extension 0x${type.toString(16)}`;
    fields.push(
      ...placed(structure, at, [
        ['type', 0, 4],
        ['length', 4, 4],
      ]),
    );
    const data = at + 8;
    if (type === 0) return fields;
    if (type === TYPE_BITMAPS) {
      fields.push(...placed('bitmaps extension', data, BITMAPS_EXTENSION));
      const directory = Number(image.readBigUInt64BE(data + bitmap.DIRECTORY_OFFSET_AT));
      fields.push(...placed('bitmap directory', directory, BITMAP));
      const table = Number(image.readBigUInt64BE(directory + bitmap.TABLE_OFFSET_AT));
      fields.push(...placed('bitmap table', table, [['entry', 0, 8]]));
    } else if (type === TYPE_CRYPTO_HEADER) {
      fields.push(...placed('encryption extension', data, CRYPTO_EXTENSION));
      fields.push(...luksFields(image, Number(image.readBigUInt64BE(data))));
    } else if (length > 0) {
      fields.push(...placed(structure, data, [['data', 0, 1]]));
    }
    at = data + Math.ceil(length / 8) * 8;
  }
}

function luksFields(image: Buffer, start: number): StructureField[] {
  const fields = placed('LUKS header', start, LUKS);
  let slot = start + LUKS_SLOTS_AT;
  while (image.readUInt32BE(slot) !== LUKS_SLOT_USED) slot += LUKS_SLOT_BYTES;
  return [...fields, ...placed('LUKS key slot', slot, LUKS_SLOT)];
}

/** The first entry of an L1 table with an L2 table, and of that the first of each kind. */
function mapFields(image: Buffer, whose: string, table: string, l1: number): StructureField[] {
  let at = l1;
  while (pointer(image, at) === 0) at += layout.TABLE_ENTRY_BYTES;
  const fields = placed(`${whose} ${table}`, at, [['entry', 0, 8]]);
  const clusterSize = 2 ** image.readUInt32BE(layout.CLUSTER_BITS_AT);
  const isV3 = image.readUInt32BE(layout.VERSION_AT) === 3;
  const extended = isV3 && (image.readBigUInt64BE(layout.INCOMPATIBLE_AT) & INCOMPATIBLE_EXTENDED_L2) !== 0n;
  const entryBytes = extended ? layout.EXTENDED_L2_ENTRY_BYTES : layout.TABLE_ENTRY_BYTES;
  const l2 = pointer(image, at);
  const seen = new Set<string>();
  for (let entry = l2; entry < l2 + clusterSize; entry += entryBytes) {
    const kind = entryKind(image.readBigUInt64BE(entry));
    if (seen.has(kind)) continue;
    seen.add(kind);
    fields.push(...placed(`${whose} L2 table`, entry, [[`${kind} entry`, 0, 8]]));
    if (extended)
      fields.push(...placed(`${whose} L2 table`, entry + 8, [[`subclusters of ${kind} entry`, 0, 8]]));
  }
  return fields;
}

function entryKind(entry: bigint): string {
  if ((entry & COMPRESSED) !== 0n) return 'compressed';
  const isPlaced = (entry & OFFSET_MASK) !== 0n;
  if ((entry & 1n) !== 0n) return isPlaced ? 'placed zero' : 'zero';
  return isPlaced ? 'data' : 'unallocated';
}

function refcountFields(image: Buffer): StructureField[] {
  const table = Number(image.readBigUInt64BE(layout.REFCOUNT_TABLE_OFFSET_AT));
  return [
    ...placed('refcount table', table, [['entry', 0, 8]]),
    ...placed('refcount block', pointer(image, table), [['refcounts', 0, 8]]),
  ];
}

function snapshotFields(image: Buffer): StructureField[] {
  if (image.readUInt32BE(layout.SNAPSHOT_COUNT_AT) === 0) return [];
  const table = Number(image.readBigUInt64BE(layout.SNAPSHOTS_OFFSET_AT));
  const l1 = Number(image.readBigUInt64BE(table + snapshot.L1_OFFSET_AT));
  return [...placed('snapshot table', table, SNAPSHOT), ...mapFields(image, "snapshot's", 'L1 table', l1)];
}
