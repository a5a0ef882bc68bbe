import { ImgstoreError } from '../../errors/index.ts';
import { clusterCount, diffMaps, type MapChange, type SkipNode, walkMap } from '../../objects/index.ts';
import type { ObjectDatabase } from '../objects/database.ts';
import type { VersionDisk } from './version.ts';

/** What an error says about where in the store it is. */
type NamedDisk = Pick<VersionDisk, 'name' | 'version'>;

/** An error of reading a disk's map or clusters, with the version and disk before its message; any other error as it is. */
export function inDisk({ name, version }: NamedDisk, error: unknown): unknown {
  if (!(error instanceof ImgstoreError) || !['DAMAGED', 'NOT_FOUND'].includes(error.code)) return error;
  // Those of a version as a whole have it already.
  if (error.data.version !== undefined) return error;
  const where = `version ${version.slice(0, 12)}: disk ${name}`;
  return new ImgstoreError(
    error.code,
    `${where}: ${error.message}`,
    { ...error.data, version, disk: name },
    error,
  );
}

/**
 * Refuses a map with clusters behind its disk's end. Reads what lies there only: of a map that fits, one path at most.
 * @param skip called for nodes that cannot be read; else they are thrown for
 * @throws ImgstoreError `DAMAGED`, `NOT_FOUND` naming version, disk and tree
 */
export async function refuseBeyondEnd(
  database: ObjectDatabase,
  disk: VersionDisk,
  skip?: SkipNode,
): Promise<void> {
  const end = clusterCount(disk.virtualSize, disk.clusterSize);
  try {
    for await (const { first, node, id } of walkMap(database.readTree, disk.map, end, undefined, skip)) {
      const slot = node.findIndex((cluster, i) => cluster !== undefined && first + i >= end);
      if (slot < 0) continue;
      throw new ImgstoreError(
        'DAMAGED',
        `tree ${id}: has cluster ${first + slot} where the disk ends after ${end}`,
        { id, cluster: first + slot },
      );
    }
  } catch (error) {
    throw inDisk(disk, error);
  }
}

/**
 * The clusters that differ between the disks of two versions.
 * @param skip called for nodes of the map after that cannot be read, which then count as zeros; else they are thrown for
 * @throws ImgstoreError `DAMAGED`, `NOT_FOUND` naming both versions, as a tree may be of either
 */
export async function* diffDiskMaps(
  database: ObjectDatabase,
  before: VersionDisk,
  after: VersionDisk,
  skip?: SkipNode,
): AsyncGenerator<MapChange> {
  await refuseBeyondEnd(database, before);
  await refuseBeyondEnd(database, after, skip && ignore);
  try {
    yield* diffMaps(database.readTree, before.map, after.map, skip);
  } catch (error) {
    const name = `${after.name} (or the same of version ${before.version.slice(0, 12)})`;
    throw inDisk({ name, version: after.version }, error);
  }
}

/** Skips a node without a word: a walk that follows tells of it. */
export const ignore: SkipNode = () => {};
