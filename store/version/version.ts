import { ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import {
  type Commit,
  isFolder,
  type MapRoot,
  type ObjectId,
  parseCommit,
  parseTree,
  type TreeEntry,
} from '../../objects/index.ts';
import type { ObjectDatabase } from '../objects/database.ts';
import { type ImageRecord, parseImageRecord, type SourceFacts } from './image-json.ts';

/** Names in a commit's tree. */
export const IMAGE_FILE = 'image.json';
export const DISKS_FOLDER = 'disks';
export const FILES_FOLDER = 'files';

/** One disk of a version. */
export interface VersionDisk {
  /** The version's commit. */
  readonly version: ObjectId;
  readonly name: string;
  /** Bytes. */
  readonly virtualSize: number;
  /** Bytes. */
  readonly clusterSize: number;
  readonly map: MapRoot;
  readonly source: SourceFacts;
}

/** A commit that was read and checked: what a user calls a version. */
export interface Version {
  readonly id: ObjectId;
  readonly commit: Commit;
  readonly record: ImageRecord;
  readonly disks: readonly VersionDisk[];
  /** Attachments: names and blobs. */
  readonly files: readonly TreeEntry[];
}

/**
 * Reads a version's description; cluster maps are not entered.
 * @throws ImgstoreError `DAMAGED` when the commit is not an imgstore version, `NOT_FOUND`
 */
export function readVersion(database: ObjectDatabase, id: ObjectId): Version {
  const commit = parseCommit(database.readAs('commit', id));
  try {
    const root = parseTree(database.readAs('tree', commit.tree));
    const image = root.find((entry) => entry.name === IMAGE_FILE && !isFolder(entry));
    if (image === undefined)
      throw new ImgstoreError(
        'DAMAGED',
        `its tree has no ${IMAGE_FILE}: it was not made by imgstore: see it with 'git show'`,
        {
          foreign: true,
        },
      );
    const record = parseImageRecord(database.readAs('blob', image.id));
    const maps = folder(database, root, DISKS_FOLDER);
    const stray = maps.find((entry) => !isFolder(entry) || !Object.hasOwn(record.disks, entry.name));
    if (stray !== undefined)
      throw new ImgstoreError('DAMAGED', `${DISKS_FOLDER}/${stray.name} is not in ${IMAGE_FILE}`);
    const disks = Object.entries(record.disks).map(([name, { virtualSize, levels, source }]) => ({
      version: id,
      name,
      virtualSize,
      clusterSize: record.clusterSize,
      // git keeps no empty folders in its index: a disk of zeros that went through one has no tree.
      map: { id: maps.find((entry) => entry.name === name)?.id, levels },
      source,
    }));
    return { id, commit, record, disks, files: folder(database, root, FILES_FOLDER) };
  } catch (error) {
    if (!(error instanceof ImgstoreError)) throw error;
    throw new ImgstoreError(
      error.code,
      `version ${id.slice(0, 12)}: ${error.message}`,
      { ...error.data, commit: id },
      error,
    );
  }
}

/**
 * A version, or undefined for a commit that is none or is gone: git users may put other commits into a store.
 * @param onDamage told why a commit that imgstore made cannot be read
 */
export function tryReadVersion(
  database: ObjectDatabase,
  id: ObjectId,
  onDamage?: (fault: ImgstoreError) => void,
): Version | undefined {
  try {
    return readVersion(database, id);
  } catch (error) {
    if (!isImgstoreError(error)) throw error;
    if (error.data.foreign !== true) onDamage?.(error);
    return undefined;
  }
}

/** A disk of a version, or undefined when there is none of that name or the version cannot be read. */
export function tryReadDisk(
  database: ObjectDatabase,
  { commit, disk }: { readonly commit: ObjectId; readonly disk: string },
): VersionDisk | undefined {
  return tryReadVersion(database, commit)?.disks.find(({ name }) => name === disk);
}

/**
 * The disk of a version with a name, or its only one.
 * @throws ImgstoreError `NOT_FOUND` naming the disks there are, `USAGE` when there are several and none is named
 */
export function findDisk(version: Version, name: string | undefined): VersionDisk {
  const names = version.disks.map((disk) => disk.name).join(', ');
  const where = `version ${version.id.slice(0, 12)}`;
  if (name === undefined) {
    if (version.disks.length === 1) return version.disks[0]!;
    throw new ImgstoreError('USAGE', `${where} has the disks ${names}: choose one with --disk`, {
      disks: names,
    });
  }
  const disk = version.disks.find((each) => each.name === name);
  if (disk === undefined)
    throw new ImgstoreError('NOT_FOUND', `${where} has no disk '${name}': it has ${names}`, {
      name,
      disks: names,
    });
  return disk;
}

function folder(database: ObjectDatabase, root: readonly TreeEntry[], name: string): TreeEntry[] {
  const entry = root.find((each) => each.name === name && isFolder(each));
  return entry === undefined ? [] : parseTree(database.readAs('tree', entry.id));
}
