import { readFileSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { ImgstoreError } from '../../../../errors/index.ts';
import { watchPoints } from '../../../../files/index.ts';
import { encryptedBucket, STATES } from '../../../../remote/index.ts';
import { bucketRemote } from '../../../../store/remote/bucket/bucket-remote.ts';
import { collectBucket } from '../../../../store/remote/bucket/gc.ts';
import { BucketPlace } from '../../../../store/remote/bucket/place.ts';
import { verifyBucket } from '../../../../store/remote/bucket/verify.ts';
import { keysOf, newKeyPair } from '../../../remote/age/age-tool.ts';
import { MemoryBucket } from '../../../remote/memory-bucket.ts';
import { diskOf } from '../../disks.ts';
import { commitBytes, newStore, type TestStore } from '../../new-store.ts';
import { expectWhole, fetchAll, ownRefs, pushAll, withRemote, withWay } from './ways.ts';

const memoryOf = ({ path }: TestStore) => join(path, 'imgstore/remotes/origin/newest.json');

/** A store that has pushed twice, the bucket now, and all that was in it after the first push. */
async function pushedTwice() {
  const place = await newStore();
  const bucket = new MemoryBucket();
  await commitBytes(place, 'web', diskOf([1, 2]));
  await pushAll(place, bucket);
  const before = new Map(bucket.objects);
  await commitBytes(place, 'web', diskOf([1, 3]));
  await pushAll(place, bucket);
  return { place, bucket, before };
}

function restore(bucket: MemoryBucket, objects: MemoryBucket['objects']): void {
  bucket.objects.clear();
  for (const [name, stored] of objects) bucket.objects.set(name, stored);
}

const OLDER = {
  code: 'REMOTE_FAILED',
  message: expect.stringMatching(
    /^s3:\/\/memory: the newest state is 1, where 2 was there before: .*: when that is meant, remove .*newest\.json$/,
  ),
};

test('a bucket that was put back is noticed by whoever has seen it newer, in all that he does', async () => {
  const { place, bucket, before } = await pushedTwice();
  const reader = await expectWhole(place, bucket);
  restore(bucket, before);
  for (const each of [place, reader]) {
    const refs = await ownRefs(each);
    await expect(fetchAll(each, bucket)).rejects.toMatchObject(OLDER);
    await expect(pushAll(each, bucket)).rejects.toMatchObject(OLDER);
    await expect(
      withRemote(each, bucket, (remote) => verifyBucket(remote, { share: 1, repair: false }, {})),
    ).rejects.toMatchObject(OLDER);
    await expect(withRemote(each, bucket, (remote) => collectBucket(remote, 0, {}))).rejects.toMatchObject(
      OLDER,
    );
    expect(await ownRefs(each)).toEqual(refs);
  }
  // As for a store that cannot be written to.
  const apart = await BucketPlace.temporary(new BucketPlace(place.store, 'origin'));
  const remote = bucketRemote(place.store, bucket, 'origin', apart);
  await expect(collectBucket(remote, 0, {})).rejects.toMatchObject(OLDER);
  await apart.remove();
  expect([...bucket.objects.keys()]).toEqual([...before.keys()]);
  // Who has not seen it newer cannot know.
  await fetchAll(await newStore(), bucket);
});

test('a bucket of which only the newest state was removed is noticed', async () => {
  const { place, bucket } = await pushedTwice();
  const [newest] = [...bucket.objects.keys()].filter((name) => name.startsWith(STATES)).sort();
  bucket.objects.delete(newest!);
  await expect(fetchAll(place, bucket)).rejects.toMatchObject(OLDER);
  for (const name of bucket.objects.keys()) if (name.startsWith(STATES)) bucket.objects.delete(name);
  await expect(fetchAll(place, bucket)).rejects.toMatchObject({
    message: expect.stringContaining('the newest state is 0, where 2 was there before'),
  });
});

test('a bucket that was put back and went another way is noticed', async () => {
  const { place, bucket, before } = await pushedTwice();
  restore(bucket, before);
  const other = await newStore();
  await commitBytes(other, 'db', diskOf([9]));
  await fetchAll(other, bucket);
  await pushAll(other, bucket);
  await expect(fetchAll(place, bucket)).rejects.toMatchObject({
    code: 'REMOTE_FAILED',
    message: expect.stringContaining('state 2 is another one than was there before'),
  });
});

test('an encrypted bucket that was put back is noticed', async () => {
  const keys = await keysOf([newKeyPair()]);
  const memory = new MemoryBucket();
  const place = await newStore();
  await commitBytes(place, 'web', diskOf([1, 2]));
  await pushAll(place, await encryptedBucket(memory, keys));
  const before = new Map(memory.objects);
  await commitBytes(place, 'web', diskOf([1, 3]));
  await pushAll(place, await encryptedBucket(memory, keys));
  restore(memory, before);
  await expect(fetchAll(place, await encryptedBucket(memory, keys))).rejects.toMatchObject({
    code: 'REMOTE_FAILED',
  });
});

test('who removes what was noted of a bucket goes on with the older one', async () => {
  const { place, bucket, before } = await pushedTwice();
  restore(bucket, before);
  await rm(memoryOf(place));
  await pushAll(place, bucket);
  await expectWhole(place, bucket);
});

test('a bucket that was emptied is begun anew', async () => {
  const { place, bucket } = await pushedTwice();
  bucket.objects.clear();
  await pushAll(place, bucket);
  await expectWhole(place, bucket);
  expect(JSON.parse(readFileSync(memoryOf(place), 'utf8'))).toMatchObject({ number: 1 });
});

test('what was noted of another bucket, or is damaged, counts for nothing', async () => {
  const { place, bucket } = await pushedTwice();
  for (const text of [
    '',
    '{',
    'null',
    '{"where":"s3://elsewhere","number":77,"writer":"x"}',
    '{"number":77}',
  ]) {
    await writeFile(memoryOf(place), text);
    await fetchAll(place, bucket);
    expect(JSON.parse(readFileSync(memoryOf(place), 'utf8'))).toMatchObject({ number: 2 });
  }
});

test('processes that read and push at once see nothing older', async () => {
  const place = await newStore();
  const bucket = new MemoryBucket();
  await commitBytes(place, 'web', diskOf([1]));
  await pushAll(place, bucket);
  const others = await Promise.all(
    Array.from({ length: 3 }, async (_, i) => {
      const other = await newStore();
      await commitBytes(other, `w${i}`, diskOf([i + 10]));
      return other;
    }),
  );
  const asking = Array.from({ length: 40 }, () => withWay(place, bucket, (way) => way.refs()));
  const pushing = others.map((other, i) =>
    withWay(other, bucket, async (way, store) => {
      await way.refs();
      const after = (await store.refs.resolve(`refs/heads/w${i}`))!;
      return way.push([{ name: `refs/heads/w${i}`, before: '0'.repeat(64), after }]);
    }),
  );
  await Promise.all([...asking, ...pushing]);
  expect((await withWay(place, bucket, (way) => way.refs())).refs).toHaveLength(4);
});

test('a store that cannot be written to compares with what is there', async () => {
  const { place, bucket, before } = await pushedTwice();
  const other = await newStore();
  await fetchAll(other, bucket);
  await commitBytes(other, 'db', diskOf([9]));
  await pushAll(other, bucket);
  onTestFinished(
    watchPoints((point) => {
      if (point.startsWith('remote-newest.')) throw new ImgstoreError('IO', 'read-only file system');
    }),
  );
  await withWay(place, bucket, (way) => way.refs());
  expect(JSON.parse(readFileSync(memoryOf(place), 'utf8'))).toMatchObject({ number: 2 });
  restore(bucket, before);
  await expect(withWay(place, bucket, (way) => way.refs())).rejects.toMatchObject(OLDER);
});
