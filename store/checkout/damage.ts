import { type ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import { clusterCount, type UnreadableNode } from '../../objects/index.ts';
import type { VersionDisk } from '../version/version.ts';

/** Bytes of a disk that could not be read from the store and are zeros in a file. */
export interface DamagedRange {
  /** The file with the zeros: the one that was asked for, or one that it stands on. */
  readonly file: string;
  readonly disk: string;
  /** Bytes. */
  readonly offset: number;
  readonly length: number;
  /** One line; that of the first object of the range. */
  readonly reason: string;
}

/** What a checkout that goes on past damage has left as zeros. */
export class DamageList {
  readonly #ranges: DamagedRange[] = [];

  get isEmpty(): boolean {
    return this.#ranges.length === 0;
  }

  /** Notes a cluster that cannot be read. */
  addCluster({ path, disk }: DamagedFile, cluster: number, error: ImgstoreError): void {
    this.#add(path, disk, cluster, 1, error);
  }

  /** Notes a node of a file's map: all clusters below it. */
  addNode({ path, disk }: DamagedFile, { first, clusters, error }: UnreadableNode): void {
    this.#add(path, disk, first, clusters, error);
  }

  /** File by file as they were written, in order of offsets, neighbours joined. */
  ranges(): DamagedRange[] {
    const files = [...new Set(this.#ranges.map(({ file }) => file))];
    return files.flatMap((name) => {
      const ofFile = this.#ranges.filter(({ file }) => file === name);
      return joined(ofFile.sort((a, b) => a.offset - b.offset));
    });
  }

  #add(file: string, disk: VersionDisk, first: number, clusters: number, { message }: ImgstoreError): void {
    const { name, virtualSize, clusterSize } = disk;
    const end = Math.min(first + clusters, clusterCount(virtualSize, clusterSize));
    const offset = first * clusterSize;
    // A node's range may lie behind the end, where no cluster is.
    if (end <= first) return;
    const length = Math.min(end * clusterSize, virtualSize) - offset;
    this.#ranges.push({ file, disk: name, offset, length, reason: message });
  }
}

/** A file of a checkout and what it is to hold. */
interface DamagedFile {
  readonly path: string;
  readonly disk: VersionDisk;
}

/** Whether an error says that an object cannot be read, and not that the work cannot go on. */
export function isDamage(error: unknown): error is ImgstoreError {
  return isImgstoreError(error, 'DAMAGED') || isImgstoreError(error, 'NOT_FOUND');
}

function joined(ranges: readonly DamagedRange[]): DamagedRange[] {
  const all: DamagedRange[] = [];
  for (const range of ranges) {
    const last = all.at(-1);
    if (last !== undefined && last.offset + last.length === range.offset)
      all[all.length - 1] = { ...last, length: last.length + range.length };
    else all.push(range);
  }
  return all;
}
