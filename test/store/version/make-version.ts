import { isZero } from '../../../block/index.ts';
import {
  clusterCount,
  compareEntries,
  encodeCommit,
  encodeTree,
  MapEditor,
  MODE_FILE,
  MODE_FOLDER,
  mapLevels,
  NULL_ID,
  type ObjectId,
  type TreeEntry,
} from '../../../objects/index.ts';
import type { Store, VersionDisk } from '../../../store/index.ts';
import { PERSON } from '../refs/some-refs.ts';

/** Commits a tree of these entries; what stands for a blob or a tree is stored first. */
export async function commitTree(
  store: Store,
  entries: Readonly<Record<string, string | readonly TreeEntry[]>>,
): Promise<ObjectId> {
  const transaction = store.begin();
  const tree: TreeEntry[] = [];
  for (const [name, content] of Object.entries(entries)) {
    if (typeof content === 'string')
      tree.push({ mode: MODE_FILE, name, id: await transaction.put('blob', Buffer.from(content)) });
    else tree.push({ mode: MODE_FOLDER, name, id: await transaction.put('tree', encodeTree(content)) });
  }
  const root = await transaction.put('tree', encodeTree(tree.sort(compareEntries)));
  const commit = { tree: root, parents: [], author: PERSON, committer: PERSON, message: 'm\n', extra: [] };
  const id = await transaction.put('commit', encodeCommit(commit));
  await transaction.publish();
  await transaction.discard();
  return id;
}

/** Stores a disk's clusters and map, in clusters of any size. */
export async function storeClusters(
  store: Store,
  bytes: Uint8Array,
  clusterSize: number,
): Promise<VersionDisk> {
  const transaction = store.begin();
  const levels = mapLevels(clusterCount(bytes.length, clusterSize));
  const editor = new MapEditor(store.objects.readTree, (data) => transaction.put('tree', data), levels);
  for (let cluster = 0; cluster * clusterSize < bytes.length; cluster++) {
    const part = bytes.subarray(cluster * clusterSize, (cluster + 1) * clusterSize);
    if (!isZero(part)) await editor.set(cluster, await transaction.put('blob', part));
  }
  const map = { id: await editor.finish(), levels };
  await transaction.publish();
  await transaction.discard();
  return { version: NULL_ID, name: 'vda', virtualSize: bytes.length, clusterSize, map, source: {} };
}
