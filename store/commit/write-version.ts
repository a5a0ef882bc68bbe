import {
  compareEntries,
  encodeCommit,
  encodeTree,
  MODE_FILE,
  MODE_FOLDER,
  type ObjectId,
  type Person,
  subject,
  type TreeEntry,
} from '../../objects/index.ts';
import type { Config } from '../config/config.ts';
import type { ObjectTransaction } from '../objects/transaction.ts';
import { currentPerson } from '../person.ts';
import { encodeImageRecord, IMAGE_VERSION, type SourceFacts } from '../version/image-json.ts';
import { DISKS_FOLDER, FILES_FOLDER, IMAGE_FILE } from '../version/version.ts';
import type { Content } from './same-content.ts';

/** What a new version is made of. Its clusters, maps and attachments are in the store or in the transaction. */
export interface NewVersion {
  readonly content: Content;
  /** Of the file that each disk was read from. */
  readonly facts: readonly SourceFacts[];
  readonly parent: ObjectId | undefined;
  readonly message: string;
  /** When the author made it, in seconds since 1970; now, if not said. `GIT_AUTHOR_DATE` wins. */
  readonly authoredSeconds?: number | undefined;
}

/** A version's commit, new or found. */
export interface MadeCommit {
  readonly commit: ObjectId;
  readonly tree: ObjectId;
  readonly parents: readonly ObjectId[];
  /** First line of the message. */
  readonly subject: string;
}

/** Puts `image.json`, the trees and the commit of a version into a transaction. @throws ImgstoreError `USAGE` for a date that is not one, `IO` */
export async function writeVersion(
  config: Config,
  { content: { clusterSize, disks, files }, facts, parent, message: text, authoredSeconds }: NewVersion,
  transaction: ObjectTransaction,
): Promise<MadeCommit> {
  const records = disks.map(({ name, virtualSize, map }, i) => [
    name,
    { virtualSize, levels: map.levels, source: facts[i]! },
  ]);
  const record = encodeImageRecord({
    version: IMAGE_VERSION,
    clusterSize,
    disks: Object.fromEntries(records),
  });
  const maps = disks.map(({ name, map }) => ({ mode: MODE_FOLDER, name, id: map.id! })).sort(compareEntries);
  const entries: TreeEntry[] = [
    { mode: MODE_FOLDER, name: DISKS_FOLDER, id: await transaction.put('tree', encodeTree(maps)) },
    { mode: MODE_FILE, name: IMAGE_FILE, id: await transaction.put('blob', record) },
  ];
  if (files.length > 0) {
    entries.push({
      mode: MODE_FOLDER,
      name: FILES_FOLDER,
      id: await transaction.put('tree', encodeTree(files)),
    });
  }
  const tree = await transaction.put('tree', encodeTree(entries.sort(compareEntries)));
  const message = `${text.trimEnd()}\n`;
  const parents = parent === undefined ? [] : [parent];
  const [author, committer] = [authorOf(config, authoredSeconds), currentPerson('committer', config)];
  const commit = await transaction.put(
    'commit',
    encodeCommit({ tree, parents, author, committer, message, extra: [] }),
  );
  return { commit, tree, parents, subject: subject(message) };
}

function authorOf(config: Config, seconds: number | undefined): Person {
  const author = currentPerson('author', config);
  if (seconds === undefined || process.env.GIT_AUTHOR_DATE) return author;
  return { ...author, seconds, zoneMinutes: -new Date(seconds * 1000).getTimezoneOffset() };
}
