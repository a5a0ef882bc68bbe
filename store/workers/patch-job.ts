import { readSync } from 'node:fs';
import { fromSystem } from '../../errors/index.ts';
import { readCluster, type StoredItem, writeAll } from './jobs.ts';

/** A part of a cluster and where it goes in a file. */
export interface PatchPiece {
  /** Where it begins in the cluster. */
  readonly from: number;
  /** Bytes. */
  readonly length: number;
  /** Offset in the file. */
  readonly to: number;
  /** What is there now means nothing, so that it is not looked at. */
  readonly isNew: boolean;
}

/** A stored cluster that takes the place of other bytes. */
export interface PatchItem extends StoredItem {
  readonly pieces: readonly PatchPiece[];
}

/** Clusters to write over what an open file holds. */
export interface PatchJob {
  readonly fd: number;
  /** The file's name, for messages. */
  readonly path: string;
  readonly items: readonly PatchItem[];
}

/** Blocks of file systems and of most disks: less than one is not written anyway. */
const BLOCK_BYTES = 4096;

/** Inflates clusters, checks each against its id, and writes what differs from the bytes that are there, block by block. Returns the number of bytes written. */
export function patch({ fd, path, items }: PatchJob): number {
  let written = 0;
  for (const item of items) {
    const data = readCluster(item);
    for (const { from, length, to, isNew } of item.pieces) {
      const wanted = data.subarray(from, from + length);
      for (const run of isNew
        ? [{ start: 0, end: length }]
        : differing(wanted, present({ fd, path }, to, length))) {
        writeAll({ fd, path }, wanted.subarray(run.start, run.end), to + run.start);
        written += run.end - run.start;
      }
    }
  }
  return written;
}

/** Grows to the largest piece. */
let room = Buffer.alloc(0);

/** What a file holds, with zeros behind its end; until the next call. */
function present({ fd, path }: Pick<PatchJob, 'fd' | 'path'>, at: number, length: number): Buffer {
  if (room.length < length) room = Buffer.alloc(length);
  const bytes = room.subarray(0, length);
  let done = 0;
  try {
    while (done < length) {
      const count = readSync(fd, bytes, done, length - done, at + done);
      if (count === 0) break;
      done += count;
    }
  } catch (error) {
    throw fromSystem(error, path);
  }
  return bytes.fill(0, done);
}

/** The runs of blocks that differ. */
function differing(wanted: Uint8Array, found: Buffer): { start: number; end: number }[] {
  const runs: { start: number; end: number }[] = [];
  for (let start = 0; start < wanted.length; start += BLOCK_BYTES) {
    const end = Math.min(start + BLOCK_BYTES, wanted.length);
    if (found.compare(wanted, start, end, start, end) === 0) continue;
    const last = runs.at(-1);
    if (last?.end === start) last.end = end;
    else runs.push({ start, end });
  }
  return runs;
}
