import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32, deflateSync } from 'node:zlib';
import { idToBytes, nodeHash, type ObjectType } from '../../objects/index.ts';
import { EntryTable, encodeEntryHead, encodeIdx, encodePackHeader } from '../../pack/index.ts';

/** An entry of a pack that a test makes by hand, true to the format or not. */
export interface CraftedEntry {
  /** Under which id the index has it. */
  readonly id: string;
  readonly head: Buffer;
  readonly stream: Uint8Array;
}

/** A whole object, its size told as it is unless said otherwise. */
export function wholeEntry(id: string, type: ObjectType, data: Uint8Array, size = data.length): CraftedEntry {
  return { id, head: encodeEntryHead(type, size), stream: deflateSync(data) };
}

/** A delta against an earlier entry (so many bytes back) or an id. */
export function deltaEntry(
  id: string,
  base: number | string,
  delta: Uint8Array,
  size = delta.length,
): CraftedEntry {
  return { id, head: deltaHead(size, base), stream: deflateSync(delta) };
}

/** The head of a delta's entry (git: gitformat-pack). */
export function deltaHead(size: number, base: number | string): Buffer {
  const bytes = [...encodeEntryHead('blob', size)];
  bytes[0] = (bytes[0]! & 0x8f) | ((typeof base === 'number' ? 6 : 7) << 4);
  if (typeof base === 'string') return Buffer.concat([Buffer.from(bytes), idToBytes(base)]);
  const distance = [base % 128];
  for (let rest = Math.floor(base / 128); rest > 0; rest = Math.floor(rest / 128)) {
    rest--;
    distance.unshift(0x80 | (rest % 128));
  }
  return Buffer.from([...bytes, ...distance]);
}

/** A pack with an index that fits it. */
export interface CraftedPack {
  readonly stem: string;
  /** Where each entry begins. */
  readonly offsets: readonly number[];
  readonly pack: Buffer;
  readonly idx: Buffer;
}

/** Writes a pack of these entries with valid checksums, so that only what they say may be wrong. */
export function craftPack(folder: string, entries: readonly CraftedEntry[], name = 'pack-0123'): CraftedPack {
  const table = new EntryTable();
  const parts: Uint8Array[] = [encodePackHeader(entries.length)];
  const offsets: number[] = [];
  let end = parts[0]!.length;
  for (const { id, head, stream } of entries) {
    offsets.push(end);
    table.add(idToBytes(id), crc32(stream, crc32(head)), end);
    parts.push(head, stream);
    end += head.length + stream.length;
  }
  const body = Buffer.concat(parts);
  const checksum = nodeHash.create().update(body).digest();
  const pack = Buffer.concat([body, checksum]);
  const idx = encodeIdx(table, table.byId(), checksum);
  const stem = join(folder, name);
  writeFileSync(`${stem}.pack`, pack);
  writeFileSync(`${stem}.idx`, idx);
  return { stem, offsets, pack, idx };
}
