import { TYPE_BITMAPS, TYPE_CRYPTO_HEADER } from '../../../qcow2/meta/extensions.ts';
import * as layout from '../../../qcow2/meta/layout.ts';

/** A number in an image that means something. */
export interface Field {
  readonly at: number;
  readonly bytes: 1 | 2 | 4 | 8;
}

const OFFSET_MASK = 0x00ff_ffff_ffff_fe00n;
/** Of each table. */
const MAX_ENTRIES = 600;

const HEADER_FIELDS: readonly Field[] = [
  ...[
    layout.VERSION_AT,
    layout.BACKING_SIZE_AT,
    layout.CLUSTER_BITS_AT,
    layout.CRYPT_METHOD_AT,
    layout.L1_SIZE_AT,
    layout.REFCOUNT_TABLE_CLUSTERS_AT,
    layout.SNAPSHOT_COUNT_AT,
    layout.REFCOUNT_ORDER_AT,
    layout.HEADER_LENGTH_AT,
  ].map((at): Field => ({ at, bytes: 4 })),
  ...[
    layout.BACKING_OFFSET_AT,
    layout.SIZE_AT,
    layout.L1_OFFSET_AT,
    layout.REFCOUNT_TABLE_OFFSET_AT,
    layout.SNAPSHOTS_OFFSET_AT,
    layout.INCOMPATIBLE_AT,
    layout.COMPATIBLE_AT,
    layout.AUTOCLEAR_AT,
  ].map((at): Field => ({ at, bytes: 8 })),
  { at: layout.COMPRESSION_TYPE_AT, bytes: 1 },
];

/** The numbers of a valid image, in groups: the mutator takes a group first, so that small ones come as often. */
export function fieldsOf(image: Buffer): readonly (readonly Field[])[] {
  return new FieldWalk(image).groups().filter((group) => group.length > 0);
}

/** Goes through the tables of an image; its own writer made it, so that nothing is checked. */
class FieldWalk {
  readonly #image: Buffer;
  readonly #clusterSize: number;
  readonly #l2EntryBytes: number;

  constructor(image: Buffer) {
    this.#image = image;
    this.#clusterSize = 2 ** image.readUInt32BE(layout.CLUSTER_BITS_AT);
    const extended = this.#version === 3 && (image.readBigUInt64BE(layout.INCOMPATIBLE_AT) & 16n) !== 0n;
    this.#l2EntryBytes = extended ? layout.EXTENDED_L2_ENTRY_BYTES : layout.TABLE_ENTRY_BYTES;
  }

  groups(): Field[][] {
    const image = this.#image;
    const groups: Field[][] = [[...HEADER_FIELDS]];
    this.#l1(image.readUInt32BE(layout.L1_SIZE_AT), this.#u64(layout.L1_OFFSET_AT), groups);
    const table = this.#entries(this.#u64(layout.REFCOUNT_TABLE_OFFSET_AT), this.#clusterSize / 8);
    groups.push(table);
    for (const { at } of table) {
      const block = this.#pointer(at);
      if (block === 0) continue;
      groups.push(
        Array.from({ length: Math.min(MAX_ENTRIES, this.#clusterSize) }, (_, i) => ({
          at: block + i,
          bytes: 1,
        })),
      );
    }
    this.#snapshots(groups);
    this.#extensions(groups);
    return groups;
  }

  get #version(): number {
    return this.#image.readUInt32BE(layout.VERSION_AT);
  }

  #l1(entries: number, offset: number, groups: Field[][]): void {
    const l1 = this.#entries(offset, entries);
    groups.push(l1);
    for (const { at } of l1) {
      const l2 = this.#pointer(at);
      if (l2 === 0) continue;
      const used = this.#entries(l2, this.#clusterSize / 8).filter(
        ({ at }) => this.#image.readBigUInt64BE(at) !== 0n,
      );
      // Words of an extended entry are fields of their own.
      groups.push([...used, { at: l2, bytes: 8 }, { at: l2 + this.#l2EntryBytes, bytes: 8 }]);
    }
  }

  #snapshots(groups: Field[][]): void {
    const image = this.#image;
    let at = this.#u64(layout.SNAPSHOTS_OFFSET_AT);
    for (let i = image.readUInt32BE(layout.SNAPSHOT_COUNT_AT); i > 0; i--) {
      const extra = image.readUInt32BE(at + 36);
      const fields: Field[] = [{ at, bytes: 8 }];
      for (const [offset, bytes] of [
        [8, 4],
        [12, 2],
        [14, 2],
        [16, 4],
        [20, 4],
        [24, 8],
        [32, 4],
        [36, 4],
      ] as const) {
        fields.push({ at: at + offset, bytes });
      }
      for (let word = 0; word + 8 <= extra; word += 8) fields.push({ at: at + 40 + word, bytes: 8 });
      groups.push(fields);
      this.#l1(image.readUInt32BE(at + 8), this.#u64(at), groups);
      const length = 40 + extra + image.readUInt16BE(at + 12) + image.readUInt16BE(at + 14);
      at += Math.ceil(length / 8) * 8;
    }
  }

  #extensions(groups: Field[][]): void {
    const image = this.#image;
    let at = this.#version === 2 ? layout.V2_HEADER_BYTES : image.readUInt32BE(layout.HEADER_LENGTH_AT);
    const fields: Field[] = [];
    for (;;) {
      const type = image.readUInt32BE(at);
      const length = image.readUInt32BE(at + 4);
      fields.push({ at, bytes: 4 }, { at: at + 4, bytes: 4 });
      if (type === 0) break;
      for (let word = 0; word + 8 <= length; word += 8) fields.push({ at: at + 8 + word, bytes: 8 });
      if (type === TYPE_BITMAPS) this.#bitmaps(image.readUInt32BE(at + 8), this.#u64(at + 24), groups);
      if (type === TYPE_CRYPTO_HEADER) groups.push(luksFields(this.#u64(at + 8)));
      at += 8 + Math.ceil(length / 8) * 8;
    }
    groups.push(fields);
  }

  #bitmaps(count: number, offset: number, groups: Field[][]): void {
    const image = this.#image;
    let at = offset;
    for (let i = 0; i < count; i++) {
      const fields: Field[] = [{ at, bytes: 8 }];
      for (const [offset, bytes] of [
        [8, 4],
        [12, 4],
        [16, 1],
        [17, 1],
        [18, 2],
        [20, 4],
      ] as const) {
        fields.push({ at: at + offset, bytes });
      }
      groups.push(fields, this.#entries(this.#u64(at), image.readUInt32BE(at + 8)));
      const length = 24 + image.readUInt32BE(at + 20) + image.readUInt16BE(at + 18);
      at += Math.ceil(length / 8) * 8;
    }
  }

  #entries(offset: number, count: number): Field[] {
    const inFile = Math.floor((this.#image.length - offset) / 8);
    const length = Math.min(count, MAX_ENTRIES, inFile);
    return Array.from({ length }, (_, i) => ({ at: offset + 8 * i, bytes: 8 }));
  }

  #u64(at: number): number {
    return Number(this.#image.readBigUInt64BE(at));
  }

  #pointer(at: number): number {
    return Number(this.#image.readBigUInt64BE(at) & OFFSET_MASK);
  }
}

function luksFields(start: number): Field[] {
  const fields: Field[] = [];
  for (const at of [104, 108, 164]) fields.push({ at: start + at, bytes: 4 });
  for (const at of [0, 6, 8, 40, 72]) fields.push({ at: start + at, bytes: 2 });
  for (let slot = 0; slot < 8; slot++) {
    for (const at of [0, 4, 40, 44]) fields.push({ at: start + 208 + 48 * slot + at, bytes: 4 });
  }
  return fields;
}
