import {
  allDone,
  type BlockSource,
  type ComparedExtent,
  type Extent,
  type FilePiece,
  locatePadded,
  readPadded,
  zeroPiece,
} from '../../block/index.ts';
import type { ClusterMap } from './cluster-map.ts';
import type { CompressedPart, CompressedReader } from './compressed-reader.ts';
import { DataClaims } from './data-claims.ts';
import { coalesce, type ExtentSource, layerExtents } from './extents.ts';
import type { GuestData } from './guest-data.ts';
import { sharedRanges } from './shared-ranges.ts';

/** Host reads of one call that may be under way at a time: enough to keep a disk busy, few enough to share it. */
const READS_AT_ONCE = 16;

/** What the guest's address space is read through. */
export interface SpaceParts {
  readonly map: ClusterMap;
  readonly data: GuestData;
  readonly compressed: CompressedReader;
  /** What unallocated ranges read from; zeros without one. */
  readonly backing: BlockSource | undefined;
  /** Bytes of data that the file can hold. */
  readonly mostData: number;
  /** The image's name, for errors. */
  readonly image: string;
}

/** The address space that one L1 table describes: a disk, and behind it a VM's saved state. */
export class GuestSpace {
  readonly #parts: SpaceParts;

  constructor(parts: SpaceParts) {
    this.#parts = parts;
  }

  /** The extents of [offset, offset + length), which the L1 table describes. */
  extents(offset: number, length: number): AsyncIterable<Extent> {
    const { map, data, backing, mostData, image } = this.#parts;
    const claims = new DataClaims(mostData, image);
    return coalesce(layerExtents(map, data.plain, backing, claims, offset, offset + length));
  }

  /** As {@link extents}, over something else than the backing. */
  extentsOver<Kind extends ComparedExtent['kind']>(
    below: ExtentSource<Kind>,
    offset: number,
    length: number,
  ): AsyncIterable<ComparedExtent> {
    const { map, data, mostData, image } = this.#parts;
    const claims = new DataClaims(mostData, image);
    return coalesce(layerExtents(map, data.plain, below, claims, offset, offset + length));
  }

  /** As {@link extents}, but `same` where another space over the same file and backing, which describes the range too, names the same places. */
  extentsSince(before: GuestSpace, offset: number, length: number): AsyncIterable<ComparedExtent> {
    return coalesce(this.#extentsSince(before, offset, length));
  }

  async *#extentsSince(before: GuestSpace, offset: number, length: number): AsyncIterable<ComparedExtent> {
    const { map, data, backing, mostData, image } = this.#parts;
    const claims = new DataClaims(mostData, image);
    for await (const range of sharedRanges(map, before.#parts.map, offset, offset + length)) {
      const end = range.offset + range.length;
      if (range.shared) yield { offset: range.offset, length: range.length, kind: 'same' };
      else yield* layerExtents(map, data.plain, backing, claims, range.offset, end);
    }
  }

  /** Where the bytes of a range lie in files; undefined when some are compressed or encrypted. The L1 table describes all of them. */
  async locate(offset: number, length: number): Promise<readonly FilePiece[] | undefined> {
    const { map, data, backing } = this.#parts;
    const pieces: FilePiece[] = [];
    const end = offset + length;
    for (let at = offset; at < end; ) {
      const found = map.runAt(at, end);
      const run = found instanceof Promise ? await found : found;
      if (run.kind === 'compressed') return undefined;
      const [below, start] = run.kind === 'data' ? [data.plain, run.host] : [backing, at];
      if (run.kind === 'data' && below === undefined) return undefined;
      const isZeros = run.kind === 'zero' || below === undefined;
      const part = isZeros ? [zeroPiece(run.length)] : await locatePadded(below, start, run.length);
      if (part === undefined) return undefined;
      pieces.push(...part);
      at += run.length;
    }
    return pieces;
  }

  /** Fills `into` with the bytes at `offset`; the L1 table describes all of them. */
  async read(offset: number, into: Uint8Array): Promise<void> {
    const { map, data, compressed, backing } = this.#parts;
    const end = offset + into.length;
    let reads: Promise<void>[] = [];
    const packed: CompressedPart[] = [];
    try {
      for (let at = offset; at < end; ) {
        const found = map.runAt(at, end);
        const run = found instanceof Promise ? await found : found;
        const part = run.length === into.length ? into : into.subarray(at - offset, at - offset + run.length);
        switch (run.kind) {
          case 'zero':
            part.fill(0);
            break;
          case 'compressed':
            packed.push({ guest: at, host: run.host, stored: run.stored, into: part });
            break;
          case 'data':
            reads.push(started(data.read(run.host, at, part)));
            break;
          case 'unallocated':
            if (backing === undefined) part.fill(0);
            else reads.push(started(readPadded(backing, at, part)));
        }
        at += run.length;
        if (reads.length === READS_AT_ONCE) {
          const batch = reads;
          reads = [];
          await allDone(batch);
        }
      }
      if (packed.length > 0) reads.push(started(compressed.read(packed)));
    } finally {
      await allDone(reads);
    }
  }
}

/** A failure before anyone waits is no unhandled one: {@link allDone} asks for it later. */
function started(task: Promise<void>): Promise<void> {
  task.catch(() => {});
  return task;
}
