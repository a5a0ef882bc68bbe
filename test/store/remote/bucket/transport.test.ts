import { writeFile } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { NULL_ID, type ObjectId } from '../../../../objects/index.ts';
import { type Bucket, FORMAT_NAME } from '../../../../remote/index.ts';
import type { Store } from '../../../../store/index.ts';
import { packStore } from '../../../../store/index.ts';
import { BucketTransport } from '../../../../store/remote/bucket/transport.ts';
import { FaultyBucket } from '../../../remote/faulty-bucket.ts';
import { MemoryBucket } from '../../../remote/memory-bucket.ts';
import { diskOf } from '../../disks.ts';
import { git } from '../../git.ts';
import { commitBytes, newStore, type TestStore } from '../../new-store.ts';
import { readBack } from '../../read-back.ts';
import { pushBranches } from './ways.ts';

const CLUSTERS = 700;

function numbers(count: number, first = 1): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}

function way(store: Store, bucket: Bucket, name = 'origin'): BucketTransport {
  const transport = new BucketTransport(store, bucket, name);
  onTestFinished(() => transport.close());
  return transport;
}

/** Pushes where branches of the store are, from where the bucket has them. */
function push({ store }: TestStore, bucket: Bucket, ...branches: string[]) {
  return pushBranches(way(store, bucket), store, branches);
}

/** Fetches all that a bucket's refs lead to, and makes the refs. */
async function fetchAll(place: TestStore, bucket: Bucket) {
  const transport = way(place.store, bucket);
  const { refs } = await transport.refs();
  const summary = await transport.fetch(refs.map(({ id }) => id));
  for (const { name, id } of refs) await git(place.path, 'update-ref', name, id);
  return summary;
}

async function expectSame(from: TestStore, to: TestStore, ...branches: string[]) {
  for (const branch of branches) {
    const id = await to.store.refs.resolve(`refs/heads/${branch}`);
    expect(id).toBe(await from.store.refs.resolve(`refs/heads/${branch}`));
    expect((await readBack(to.store, branch)).equals(await readBack(from.store, branch))).toBe(true);
  }
  await git(to.path, 'fsck', '--full', '--strict');
}

describe('BucketTransport', () => {
  test('brings versions to a bucket and from there to another store', async () => {
    const from = await newStore();
    await commitBytes(from, 'web', diskOf(numbers(CLUSTERS)));
    await commitBytes(from, 'web', diskOf([9999, ...numbers(CLUSTERS).slice(1)]));
    await commitBytes(from, 'db', diskOf([...numbers(300), 0, 0, ...numbers(100, 5000)]));
    const bucket = new MemoryBucket();
    const { results } = await push(from, bucket, 'web', 'db');
    expect(results.map(({ fault }) => fault)).toEqual([undefined, undefined]);
    const to = await newStore();
    await fetchAll(to, bucket);
    await expectSame(from, to, 'web', 'db');
  });

  test('pushes to a bucket that was emptied since it was asked first', async () => {
    const from = await newStore();
    const { commit } = await commitBytes(from, 'web', diskOf([1, 2]));
    const bucket = new MemoryBucket();
    await push(from, bucket, 'web');
    const transport = way(from.store, bucket);
    expect((await transport.refs()).refs).toEqual([{ name: 'refs/heads/web', id: commit }]);
    for await (const { name } of bucket.list('')) await bucket.remove([name]);
    expect((await transport.refs()).refs).toEqual([]);
    await transport.push([{ name: 'refs/heads/web', before: NULL_ID, after: commit }]);
    const to = await newStore();
    await fetchAll(to, bucket);
    await expectSame(from, to, 'web');
  });

  test('says of a newer format that it is one, and not what is wrong with its states, whichever answer comes first', async () => {
    const bucket = new MemoryBucket();
    const get = bucket.get.bind(bucket);
    bucket.get = async (name, range) => {
      if (name === FORMAT_NAME) await setImmediate();
      return get(name, range);
    };
    await bucket.put(FORMAT_NAME, Buffer.from('{"format":"imgstore","version":2}'));
    await bucket.put('states/of-another-kind', Buffer.from('2'));
    const { store } = await newStore();
    await expect(way(store, bucket).refs()).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  });

  test('sends only what the bucket lacks', async () => {
    const from = await newStore();
    await commitBytes(from, 'web', diskOf(numbers(CLUSTERS)));
    const bucket = new MemoryBucket();
    await push(from, bucket, 'web');
    await commitBytes(from, 'web', diskOf([9999, ...numbers(CLUSTERS).slice(1)]));
    const before = { ...bucket.traffic };
    const { objects } = await push(from, bucket, 'web');
    // A cluster, two nodes of its map, the tree of disks, the root and the commit.
    expect(objects).toBe(6);
    expect(bucket.traffic.sentBytes - before.sentBytes).toBeLessThan(20_000);
    const to = await newStore();
    await fetchAll(to, bucket);
    await expectSame(from, to, 'web');
  });

  test('keeps deltas of a packed store', async () => {
    const from = await newStore();
    const first = diskOf(numbers(CLUSTERS));
    await commitBytes(from, 'web', first);
    const second = Buffer.from(first);
    for (let at = 0; at < second.length; at += 4096) second.writeUInt32LE(at + 77, at + 100);
    await commitBytes(from, 'web', second);
    await packStore(from.store);
    const bucket = new MemoryBucket();
    await push(from, bucket, 'web');
    expect(bucket.traffic.sentBytes).toBeLessThan(first.length * 1.2);
    const to = await newStore();
    await fetchAll(to, bucket);
    await expectSame(from, to, 'web');
  });

  test('fetches of a pack only what is lacking, when that is little', async () => {
    const from = await newStore();
    await commitBytes(from, 'web', diskOf(numbers(CLUSTERS)));
    await commitBytes(from, 'small', diskOf(numbers(40, 50)));
    const bucket = new MemoryBucket();
    await push(from, bucket, 'web', 'small');
    const to = await newStore();
    const transport = way(to.store, bucket);
    const id = (await from.store.refs.resolve('refs/heads/small'))!;
    const { bytes } = await transport.fetch([id]);
    expect(bytes).toBeLessThan(CLUSTERS * 4096 * 0.3);
    await git(to.path, 'update-ref', 'refs/heads/small', id);
    await expectSame(from, to, 'small');
  });

  test('fetches the packs of maps of the branches that are wanted, and no others', async () => {
    const from = await newStore();
    const bucket = new FaultyBucket(new MemoryBucket());
    for (const [i, branch] of ['web', 'db', 'web', 'db', 'web'].entries()) {
      await commitBytes(from, branch, diskOf(numbers(60 + i, branch === 'web' ? 1 : 900)));
      await push(from, bucket, branch);
    }
    await git(from.path, 'branch', 'same', 'web~1');
    await push(from, bucket, 'same');
    const to = await newStore();
    const transport = way(to.store, bucket);
    bucket.requests.length = 0;
    const id = (await from.store.refs.resolve('refs/heads/web'))!;
    await transport.fetch([id]);
    // Clusters and maps of three pushes.
    expect(bucket.requests.filter(({ method }) => method === 'read')).toHaveLength(6);
    await git(to.path, 'update-ref', 'refs/heads/web', id);
    await expectSame(from, to, 'web');
    await fetchAll(to, bucket);
    await expectSame(from, to, 'web', 'db', 'same');
  });

  test('fetches an attachment that lies in a pack of maps of which nothing else is wanted', async () => {
    const from = await newStore();
    const bucket = new MemoryBucket();
    const attached = { attachments: [{ name: 'notes', path: from.file('notes') }] };
    await writeFile(from.file('notes'), 'what it is for\n');
    await commitBytes(from, 'db', diskOf(numbers(60)), attached);
    await push(from, bucket, 'db');
    await commitBytes(from, 'web', diskOf(numbers(60, 700)), attached);
    await push(from, bucket, 'web');
    const to = await newStore();
    const id = (await from.store.refs.resolve('refs/heads/web'))!;
    await way(to.store, bucket).fetch([id]);
    await git(to.path, 'update-ref', 'refs/heads/web', id);
    await expectSame(from, to, 'web');
  });

  test('refuses to list a place in which other things are, and lists nothing of an empty one', async () => {
    const { store } = await newStore();
    const bucket = new MemoryBucket();
    expect(await way(store, bucket).refs()).toEqual({ refs: [] });
    await bucket.put('snapshots/1', Buffer.from('of restic'));
    await expect(way(store, bucket).refs()).rejects.toMatchObject({
      code: 'REMOTE_FAILED',
      message: 's3://memory: is not empty (snapshots/1) and no remote of imgstore: choose another prefix',
    });
  });

  test('tells who comes second that the ref has moved, and takes both of two branches', async () => {
    const [a, b] = [await newStore(), await newStore()];
    const bucket = new MemoryBucket();
    const idOf = async ({ store }: TestStore, branch: string) =>
      (await store.refs.resolve(`refs/heads/${branch}`))!;
    const move = (name: string, after: ObjectId) => [{ name: `refs/heads/${name}`, before: NULL_ID, after }];
    await commitBytes(a, 'web', diskOf(numbers(30)));
    await commitBytes(b, 'web', diskOf(numbers(30, 7)), { message: 'of b' });
    await commitBytes(b, 'db', diskOf(numbers(30, 900)));
    const outcomes = await Promise.all([
      way(a.store, bucket).push(move('web', await idOf(a, 'web'))),
      way(b.store, bucket).push([...move('web', await idOf(b, 'web')), ...move('db', await idOf(b, 'db'))]),
    ]);
    const faults = outcomes.map(({ results }) => results[0]!.fault);
    expect(faults.filter((fault) => fault === undefined)).toHaveLength(1);
    expect(outcomes.flatMap(({ results }) => results).filter(({ moved }) => moved)).toHaveLength(1);
    const { refs } = await way(a.store, bucket).refs();
    expect(refs.map(({ name }) => name)).toEqual(['refs/heads/db', 'refs/heads/web']);
  });
});
