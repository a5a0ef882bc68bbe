import { badImage } from '../meta/fault.ts';
import type { Geometry } from '../meta/geometry.ts';
import {
  type ClusterKind,
  compressedRange,
  entryOffset,
  extendedKind,
  standardKind,
  subclusterKind,
} from '../meta/l2-entry.ts';
import { SUBCLUSTERS } from '../meta/layout.ts';

/** A range of the guest's disk that one host range, or none, stands behind. All in bytes. */
export interface Run {
  readonly kind: ClusterKind;
  readonly length: number;
  /** Host offset of the first byte (`data`) or of the compressed stream (`compressed`); else 0. */
  readonly host: number;
  /** Host bytes that hold the compressed cluster; 0 for other kinds. */
  readonly stored: number;
}

/** What decides how the entries of an image's L2 tables are read. */
export interface TableRules {
  readonly geometry: Geometry;
  readonly version: 2 | 3;
  /** Data lies in an external data file, at the guest's own offsets. */
  readonly externalData: boolean;
  /** Bytes of the image's own file. */
  readonly fileSize: number;
  /** The image's name, for errors. */
  readonly image: string;
}

/** A run without a place in the host file. */
export function placelessRun(kind: 'zero' | 'unallocated', length: number): Run {
  return { kind, length, host: 0, stored: 0 };
}

/**
 * The run of an L2 table that begins at guest offset `guest` and ends at `end` or before: as long as neighbours
 * are alike and, for data, follow each other in the host file. A compressed run is one cluster or a part of it.
 * @param table the whole L2 table that describes `guest`. @param end at most the end of what the table describes.
 * @throws ImgstoreError `BAD_IMAGE` for an entry that no image may have.
 */
export function runInTable(rules: TableRules, table: Buffer, guest: number, end: number): Run {
  return rules.geometry.extendedL2
    ? extendedRun(rules, table, guest, end)
    : standardRun(rules, table, guest, end);
}

function standardRun(rules: TableRules, table: Buffer, guest: number, end: number): Run {
  const { clusterSize, l2Span, l2EntryBytes, clusterBits } = rules.geometry;
  const within = guest % clusterSize;
  let at = Math.floor((guest % l2Span) / clusterSize) * l2EntryBytes;
  const high = table.readUInt32BE(at);
  const low = table.readUInt32BE(at + 4);
  const kind = standardKind(high, low, rules.externalData);
  let reached = Math.min(guest - within + clusterSize, end);
  if (kind === 'compressed') return compressedRun(rules, high, low, clusterBits, guest, reached);
  if (kind === 'zero' && rules.version === 2) {
    throw fault(rules, guest, 'a zero cluster, which version 2 does not have');
  }
  // A zero cluster may keep a place in the file for later; QEMU wants even that to be right.
  const placed = kind === 'data' || (kind === 'zero' && entryOffset(high, low) !== 0);
  const first = placed ? hostOffset(rules, high, low, guest - within) : 0;
  if (kind === 'data') refuseCutOff(rules, first, guest - within);
  let next = first;
  while (reached < end) {
    at += l2EntryBytes;
    const nextHigh = table.readUInt32BE(at);
    const nextLow = table.readUInt32BE(at + 4);
    if (standardKind(nextHigh, nextLow, rules.externalData) !== kind) break;
    if (placed) {
      next += clusterSize;
      if (entryOffset(nextHigh, nextLow) !== next || (kind === 'data' && isCutOff(rules, next))) break;
    } else if (kind === 'zero' && entryOffset(nextHigh, nextLow) !== 0) break;
    reached = Math.min(reached + clusterSize, end);
  }
  return { kind, length: reached - guest, host: kind === 'data' ? first + within : 0, stored: 0 };
}

function extendedRun(rules: TableRules, table: Buffer, guest: number, end: number): Run {
  const { clusterSize, l2Span, l2EntryBytes, clusterBits, unit } = rules.geometry;
  let at = Math.floor((guest % l2Span) / clusterSize) * l2EntryBytes;
  let cluster = guest - (guest % clusterSize);
  let run: { kind: ClusterKind; host: number } | undefined;
  let reached = guest;
  while (reached < end) {
    const high = table.readUInt32BE(at);
    const low = table.readUInt32BE(at + 4);
    const kind = extendedKind(high, low, rules.externalData);
    if (kind === 'compressed') {
      if (run !== undefined) break;
      return compressedRun(rules, high, low, clusterBits, guest, Math.min(cluster + clusterSize, end));
    }
    const base = kind === 'data' ? hostOffset(rules, high, low, cluster) : 0;
    if (kind === 'data') refuseCutOff(rules, base, cluster);
    const zeros = table.readUInt32BE(at + 8);
    const allocated = table.readUInt32BE(at + 12);
    for (let index = Math.floor((reached - cluster) / unit); index < SUBCLUSTERS && reached < end; index++) {
      const sub = subclusterKind(kind === 'data' ? 'data' : 'unallocated', zeros, allocated, index);
      if (sub === undefined) throw fault(rules, cluster, 'subcluster bits that contradict each other');
      const host = sub === 'data' ? base + (reached - cluster) : 0;
      run ??= { kind: sub, host };
      if (sub !== run.kind || (sub === 'data' && host !== run.host + (reached - guest))) {
        return { ...run, length: reached - guest, stored: 0 };
      }
      reached = Math.min(cluster + (index + 1) * unit, end);
    }
    cluster += clusterSize;
    at += l2EntryBytes;
  }
  return { kind: run?.kind ?? 'unallocated', host: run?.host ?? 0, length: reached - guest, stored: 0 };
}

function compressedRun(
  rules: TableRules,
  high: number,
  low: number,
  clusterBits: number,
  guest: number,
  end: number,
): Run {
  if (rules.externalData) {
    throw fault(rules, guest, 'a compressed cluster in an image with an external data file');
  }
  const { offset, length } = compressedRange(high, low, clusterBits);
  if (offset > Number.MAX_SAFE_INTEGER - length) throw fault(rules, guest, 'an offset above 2^53');
  return { kind: 'compressed', length: end - guest, host: offset, stored: length };
}

/** Host offset that an entry has for the guest cluster at `guest`, checked. */
function hostOffset(rules: TableRules, high: number, low: number, guest: number): number {
  const { clusterSize } = rules.geometry;
  const offset = entryOffset(high, low);
  if (offset > Number.MAX_SAFE_INTEGER - rules.geometry.l2Span) {
    throw fault(rules, guest, 'an offset above 2^53');
  }
  if (offset % clusterSize !== 0) {
    throw fault(rules, guest, `offset ${offset}, which is not a multiple of ${clusterSize}`);
  }
  if (rules.externalData && offset !== guest) {
    throw fault(rules, guest, `offset ${offset}, which is not its place in the external data file`);
  }
  return offset;
}

/**
 * QEMU reads a data cluster behind the end of the file as zeros, but never leaves one there: it writes each before an entry
 * leads to it. So the file was not copied whole, and zeros in place of what is missing would pass for the disk. The last cluster may be shorter.
 */
function refuseCutOff(rules: TableRules, offset: number, guest: number): void {
  if (!isCutOff(rules, offset)) return;
  throw badImage(
    rules.image,
    `is cut off: the data for guest offset ${guest} would be at ${offset} of a file of ${rules.fileSize} bytes`,
    { guestOffset: guest, offset },
  );
}

function isCutOff(rules: TableRules, offset: number): boolean {
  return !rules.externalData && offset >= rules.fileSize;
}

function fault(rules: TableRules, guest: number, what: string): Error {
  return badImage(rules.image, `the L2 entry for guest offset ${guest} has ${what}`, { guestOffset: guest });
}
