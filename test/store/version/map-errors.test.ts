import { readdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { encodeNode, MODE_FOLDER, type ObjectId } from '../../../objects/index.ts';
import {
  checkoutVersion,
  compare,
  diffVersions,
  mapDisk,
  measureStore,
  readVersion,
  type Store,
  summarizeVersion,
} from '../../../store/index.ts';
import { diskBytes } from '../commit/disk-bytes.ts';
import { diskOf } from '../disks.ts';
import { git } from '../git.ts';
import { commitBytes, newStore, reopen, SMALL, type TestStore } from '../new-store.ts';
import { commitTree } from './make-version.ts';

/** Clusters of the disk: its map has two levels. */
const CLUSTERS = 300;

type Clusters = Readonly<Record<number, Uint8Array>>;

/** Commits a version with these clusters, wherever they lie and however long they are. */
async function commitClusters(store: Store, virtualSize: number, clusters: Clusters) {
  const transaction = store.begin();
  const root = new Array<ObjectId | undefined>(256).fill(undefined);
  let tree: ObjectId = '';
  for (const high of new Set(Object.keys(clusters).map((cluster) => Number(cluster) >> 8))) {
    const node = new Array<ObjectId | undefined>(256).fill(undefined);
    for (const [cluster, bytes] of Object.entries(clusters))
      if (Number(cluster) >> 8 === high) node[Number(cluster) & 255] = await transaction.put('blob', bytes);
    tree = await transaction.put('tree', encodeNode(node, 1));
    root[high] = tree;
  }
  const map = await transaction.put('tree', encodeNode(root, 2));
  await transaction.publish();
  await transaction.discard();
  const record = { version: 1, clusterSize: SMALL, disks: { vda: { virtualSize, levels: 2 } } };
  const disks = [{ mode: MODE_FOLDER, name: 'vda', id: map }];
  const commit = await commitTree(store, { 'image.json': JSON.stringify(record), disks });
  return { commit, map, tree };
}

/** Everything that enters a map; `good` is a version whose map is in order. */
const READERS: [string, (made: TestStore, id: ObjectId, good: ObjectId) => Promise<unknown>][] = [
  ['summarizeVersion', ({ store }, id) => summarizeVersion(store, id)],
  ['mapDisk', ({ store }, id) => all(mapDisk(store, readVersion(store.objects, id).disks[0]!))],
  ['diffVersions from it', ({ store }, id, good) => all(diffVersions(store, id, good))],
  ['diffVersions to it', ({ store }, id, good) => all(diffVersions(store, good, id))],
  ['compare', ({ store }, id, good) => compare(store, { revision: id, other: good })],
  ['compare with a file', ({ store, file }, id) => compare(store, { revision: id, other: file('good.raw') })],
  [
    'checkoutVersion',
    ({ store, file }, id) => checkoutVersion(store, { revision: id, output: file('out.raw') }),
  ],
  [
    'checkoutVersion on a file',
    ({ store, file }, id) =>
      checkoutVersion(store, {
        revision: id,
        output: file('out.qcow2'),
        backing: { file: file('good.raw') },
      }),
  ],
];

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

async function withGood() {
  const made = await newStore();
  const { commit: good } = await commitBytes(made, 'good', diskOf(Array<number>(CLUSTERS).fill(1)));
  return { ...made, good };
}

describe.each(READERS)('%s', (_, read) => {
  test.each([CLUSTERS, CLUSTERS + 5, 511, 65_535])(
    'throws DAMAGED naming version, disk and tree for a cluster %i behind the end',
    async (cluster) => {
      const made = await withGood();
      const clusters = { 0: diskOf([1]), [cluster]: diskOf([2]) };
      const { commit, tree } = await commitClusters(made.store, CLUSTERS * SMALL, clusters);
      await expect(read(made, commit, made.good)).rejects.toMatchObject({
        code: 'DAMAGED',
        message: `version ${commit.slice(0, 12)}: disk vda: tree ${tree}: has cluster ${cluster} where the disk ends after ${CLUSTERS}`,
      });
      expect(readdirSync(made.file('.')).sort()).toEqual(['.imgstore', 'good.raw']);
    },
  );

  test('throws NOT_FOUND naming version, disk and tree for a tree that is lost', async () => {
    const made = await withGood();
    const { commit, tree } = await commitClusters(made.store, CLUSTERS * SMALL, { 299: diskOf([2]) });
    await rm(made.store.objects.loose.path(tree));
    const store = await reopen(made.path);
    const message = new RegExp(
      `version ${commit.slice(0, 12)}.*disk vda.*: object ${tree} is not in the store`,
    );
    await expect(read({ ...made, store }, commit, made.good)).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: expect.stringMatching(message),
    });
  });
});

test.each([SMALL, 99, 101])(
  'a last cluster of %i bytes where 100 belong is damage, and the version and disk are named',
  async (length) => {
    const made = await newStore();
    const virtualSize = (CLUSTERS - 1) * SMALL + 100;
    const clusters = { [CLUSTERS - 1]: diskOf([1]).subarray(0, length) };
    const { commit } = await commitClusters(made.store, virtualSize, clusters);
    const damaged = {
      code: 'DAMAGED',
      message: expect.stringMatching(
        `^version ${commit.slice(0, 12)}: disk vda: .* is ${length} bytes long, not 100$`,
      ),
    };
    await expect(diskBytes(made.store, commit)).rejects.toMatchObject(damaged);
    for (const name of ['out.raw', 'out.qcow2'])
      await expect(
        checkoutVersion(made.store, { revision: commit, output: made.file(name) }),
      ).rejects.toMatchObject(damaged);
  },
);

test('a map with an entry of another kind is damage, and version, disk and tree are named', async () => {
  const made = await newStore();
  await commitBytes(made, 'web', diskOf([1]));
  const map = await git(made.path, 'rev-parse', 'web^{tree}');
  const record = { version: 1, clusterSize: SMALL, disks: { vda: { virtualSize: SMALL, levels: 1 } } };
  const disks = [{ mode: MODE_FOLDER, name: 'vda', id: map }];
  const commit = await commitTree(made.store, { 'image.json': JSON.stringify(record), disks });
  await expect(summarizeVersion(made.store, commit)).rejects.toMatchObject({
    code: 'DAMAGED',
    message: `version ${commit.slice(0, 12)}: disk vda: tree ${map}: a cluster map has an entry 'disks': names are 00 to ff`,
  });
});

test('measureStore counts what is left of a version with a cluster behind the end, and tells of it', async () => {
  const made = await withGood();
  const clusters = { 0: diskOf([1]), [CLUSTERS]: diskOf([2]) };
  const { commit, tree } = await commitClusters(made.store, CLUSTERS * SMALL, clusters);
  const { images } = await measureStore(made.store, [commit]);
  expect(images).toHaveLength(1);
  expect(images[0]!.damaged).toContain(
    `version ${commit.slice(0, 12)}: disk vda: tree ${tree}: has cluster ${CLUSTERS}`,
  );
});
