import { expect, test } from 'vitest';
import { NULL_ID, type ObjectId } from '../../../objects/index.ts';
import { BucketTransport } from '../../../store/remote/bucket/transport.ts';
import { walkContent } from '../../../store/remote/walk-content.ts';
import { MemoryBucket } from '../../remote/memory-bucket.ts';
import { diskOf } from '../disks.ts';
import { git } from '../git.ts';
import { commitBytes, newStore } from '../new-store.ts';

const CLUSTERS = Array.from({ length: 600 }, (_, i) => i + 1);

/** A history that goes back to what it was, as somebody who tries something and undoes it makes it. */
async function storeThatWentBack() {
  const place = await newStore();
  const before = diskOf(CLUSTERS);
  const after = diskOf([9999, ...CLUSTERS.slice(1)]);
  for (const [i, bytes] of [before, after, before, after, before].entries())
    await commitBytes(place, 'web', bytes, { message: `${i}` });
  return { ...place, tip: (await place.store.refs.resolve('refs/heads/web'))! };
}

test('walkContent meets every object when a version goes back to what an earlier one was', async () => {
  const { store, path, tip } = await storeThatWentBack();
  const met = new Set<ObjectId>();
  await walkContent([tip], {
    read: (id) => store.objects.read(id),
    isKnown: () => false,
    meet: (id) => met.size < met.add(id).size,
  });
  const all = (await git(path, 'rev-list', '--objects', '--no-object-names', tip)).trim().split('\n');
  expect([...met].sort()).toEqual(all.sort());
});

test('BucketTransport sends all of a history that goes back to what it was', async () => {
  const from = await storeThatWentBack();
  const bucket = new MemoryBucket();
  const there = new BucketTransport(from.store, bucket, 'origin');
  await there.push([{ name: 'refs/heads/web', before: NULL_ID, after: from.tip }]);
  const to = await newStore();
  const here = new BucketTransport(to.store, bucket, 'origin');
  await here.fetch([from.tip]);
  await git(to.path, 'update-ref', 'refs/heads/web', from.tip);
  await git(to.path, 'fsck', '--full', '--strict', '--connectivity-only');
  await Promise.all([there.close(), here.close()]);
});
