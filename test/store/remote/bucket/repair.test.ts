import { expect, onTestFinished, test } from 'vitest';
import { NULL_ID } from '../../../../objects/index.ts';
import type { Bucket } from '../../../../remote/index.ts';
import { bucketRemote } from '../../../../store/remote/bucket/bucket-remote.ts';
import { BucketTransport } from '../../../../store/remote/bucket/transport.ts';
import { verifyBucket } from '../../../../store/remote/bucket/verify.ts';
import { MemoryBucket } from '../../../remote/memory-bucket.ts';
import { diskOf } from '../../disks.ts';
import { git } from '../../git.ts';
import { commitBytes, newStore, type TestStore } from '../../new-store.ts';

async function check({ store }: TestStore, bucket: Bucket, repair: boolean) {
  const remote = bucketRemote(store, bucket, 'origin');
  try {
    return await verifyBucket(remote, { share: 1, repair }, {});
  } finally {
    remote.indexes.close();
  }
}

function wayOf({ store }: TestStore, bucket: Bucket): BucketTransport {
  const transport = new BucketTransport(store, bucket, 'origin');
  onTestFinished(() => transport.close());
  return transport;
}

async function pushed(): Promise<{ readonly place: TestStore; readonly bucket: MemoryBucket }> {
  const place = await newStore();
  const bucket = new MemoryBucket();
  const { commit } = await commitBytes(place, 'web', diskOf(Array.from({ length: 700 }, (_, i) => i + 1)));
  await wayOf(place, bucket).push([{ name: 'refs/heads/web', before: NULL_ID, after: commit }]);
  return { place, bucket };
}

/** Fetches all into a store of its own, which git then finds whole. */
async function expectWhole(bucket: Bucket): Promise<void> {
  const to = await newStore();
  const transport = wayOf(to, bucket);
  const { refs } = await transport.refs();
  await transport.fetch(refs.map(({ id }) => id));
  for (const { name, id } of refs) await git(to.path, 'update-ref', name, id);
  await git(to.path, 'fsck', '--full', '--strict');
}

const damages: readonly (readonly [string, (bucket: MemoryBucket) => void])[] = [
  ['a pack of clusters is gone', (bucket) => removeOf(bucket, 'largest')],
  ['a pack of maps is gone', (bucket) => removeOf(bucket, 'smallest')],
  [
    'all packs are gone',
    (bucket) => {
      for (const name of packsOf(bucket)) bucket.objects.delete(name);
    },
  ],
  ['a byte of a pack of clusters has changed', (bucket) => flip(bucket, packsOf(bucket).at(-1)!)],
  [
    'a byte of an index has changed',
    (bucket) => flip(bucket, packsOf(bucket).at(-1)!.replace(/pack$/, 'idx')),
  ],
];

test.each(damages)('verify --repair mends a bucket from a store that has all when %s', async (_, damage) => {
  const { place, bucket } = await pushed();
  damage(bucket);
  expect((await check(place, bucket, false)).clean).toBe(false);
  const verdict = await check(place, bucket, true);
  expect(verdict).toMatchObject({ clean: true, missingCount: 0 });
  expect(verdict.repaired).toBeGreaterThan(0);
  expect(await check(place, bucket, false)).toMatchObject({ clean: true, damaged: [] });
  await expectWhole(bucket);
});

test('verify --repair makes no state, and counts nothing as sent, when nothing is lost', async () => {
  const { place, bucket } = await pushed();
  const before = [...bucket.objects.keys()];
  const verdict = await check(place, bucket, true);
  expect(verdict).toMatchObject({ clean: true, missingCount: 0, damaged: [] });
  expect(verdict.repaired).toBeUndefined();
  expect([...bucket.objects.keys()]).toEqual(before);
});

test('verify --repair says what a store does not have either, and leaves the damaged pack listed', async () => {
  const { bucket } = await pushed();
  removeOf(bucket, 'largest');
  const other = await newStore();
  const verdict = await check(other, bucket, true);
  expect(verdict.clean).toBe(false);
  expect(verdict.missingCount).toBeGreaterThan(0);
  expect((await check(other, bucket, false)).damaged).toHaveLength(1);
});

/** Names of packs by size, the largest last. */
function packsOf({ objects }: MemoryBucket): string[] {
  const packs = [...objects].filter(([name]) => name.endsWith('.pack'));
  return packs.sort(([, a], [, b]) => a.bytes.length - b.bytes.length).map(([name]) => name);
}

function removeOf(bucket: MemoryBucket, which: 'largest' | 'smallest'): void {
  bucket.objects.delete(packsOf(bucket).at(which === 'largest' ? -1 : 0)!);
}

function flip(bucket: MemoryBucket, name: string): void {
  const { bytes } = bucket.objects.get(name)!;
  bytes[bytes.length >> 1]! ^= 4;
}
