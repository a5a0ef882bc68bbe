import { existsSync, readFileSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { ImgstoreError } from '../../../../errors/index.ts';
import { NULL_ID } from '../../../../objects/index.ts';
import type { Bucket } from '../../../../remote/index.ts';
import { encryptedBucket } from '../../../../remote/index.ts';
import type { Progress } from '../../../../store/index.ts';
import { bucketRemote } from '../../../../store/remote/bucket/bucket-remote.ts';
import { EarlyUploads } from '../../../../store/remote/bucket/early-uploads.ts';
import { collectBucket } from '../../../../store/remote/bucket/gc.ts';
import { notedPacks } from '../../../../store/remote/bucket/journal.ts';
import { pushTo } from '../../../../store/remote/bucket/push.ts';
import { BucketTransport } from '../../../../store/remote/bucket/transport.ts';
import { keysOf, newKeyPair } from '../../../remote/age/age-tool.ts';
import { type BucketFault, FaultyBucket } from '../../../remote/faulty-bucket.ts';
import { MemoryBucket } from '../../../remote/memory-bucket.ts';
import { diskOf } from '../../disks.ts';
import { commitBytes, newStore, type TestStore } from '../../new-store.ts';
import { expectWhole, pushAll, withRemote, withWay } from './ways.ts';

/** Of clusters of noise: more than the 1 MiB that the journal notes. */
const LARGE = 270;

function numbers(count: number, first = 1): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}

/** Commits a disk while its objects are sent, and pushes then. */
async function commitAndPush(place: TestStore, bucket: Bucket, branch: string, disk: Uint8Array) {
  const way = new BucketTransport(place.store, bucket, 'origin');
  try {
    const refs = way.refs();
    const { newObjects } = way;
    const there = await refs;
    const { commit } = await commitBytes(place, branch, disk, {}, { newObjects });
    const name = `refs/heads/${branch}`;
    const before = there.refs.find((ref) => ref.name === name)?.id ?? NULL_ID;
    return await way.push([{ name, before, after: commit }]);
  } finally {
    await way.close();
  }
}

/** Commits a disk of more than the journal notes while its objects are sent, and pushes nothing. @returns the way that has sent them, and the commit */
async function commitUnpushed(place: TestStore, memory: MemoryBucket) {
  const way = new BucketTransport(place.store, memory, 'origin');
  const refs = way.refs();
  const { newObjects } = way;
  await refs;
  const { commit } = await commitBytes(place, 'web', diskOf(numbers(LARGE)), {}, { newObjects });
  // Besides what makes a remote, pack and index of clusters and of maps.
  await expect.poll(() => memory.objects.size).toBeGreaterThanOrEqual(5);
  const journal = join(place.path, 'imgstore/remotes/origin/uploaded.json');
  await expect.poll(() => (existsSync(journal) ? readFileSync(journal, 'utf8') : '')).toContain('"data"');
  return { way, commit };
}

const putNames = ({ requests }: FaultyBucket) =>
  requests.filter(({ method }) => method === 'put').map(({ name }) => name);

/** Objects in all packs that a bucket's state lists, by kind. */
function listed(place: TestStore, bucket: Bucket) {
  return withRemote(place, bucket, async ({ states }) => {
    const { content } = await states.newest();
    const count = (kind: string) =>
      [...content.packs.values()]
        .filter((pack) => pack.kind === kind)
        .reduce((sum, { objects }) => sum + objects, 0);
    return { packs: content.packs.size, data: count('data'), maps: count('maps') };
  });
}

test('EarlyUploads sends all of a version while it is stored, and the push nothing more', async () => {
  const place = await newStore();
  const memory = new MemoryBucket();
  const bucket = new FaultyBucket(memory);
  const { objects, bytes } = await commitAndPush(place, bucket, 'web', diskOf(numbers(LARGE)));
  const { packs, data, maps } = await listed(place, memory);
  expect({ packs, data }).toEqual({ packs: 2, data: LARGE });
  expect(objects).toBe(data + maps);
  expect(bytes).toBeGreaterThan(LARGE * 4096);
  expect(putNames(bucket)).toHaveLength(4);
  expect(existsSync(join(place.path, 'imgstore/remotes/origin/uploaded.json'))).toBe(false);
  await expectWhole(place, memory);
});

test('EarlyUploads sends what is new of a second version, and nothing that the bucket has from others', async () => {
  const memory = new MemoryBucket();
  const other = await newStore();
  await commitBytes(other, 'other', diskOf(numbers(40)));
  await pushAll(other, memory);
  const place = await newStore();
  await commitAndPush(place, memory, 'web', diskOf(numbers(50)));
  expect(await listed(place, memory)).toMatchObject({ packs: 4, data: 50 });
  await commitAndPush(place, memory, 'web', diskOf([9000, ...numbers(49, 2)]));
  expect(await listed(place, memory)).toMatchObject({ packs: 6, data: 51 });
  await pushAll(place, memory);
  await expectWhole(place, memory);
});

test('EarlyUploads goes on from wherever it was broken off, and sends nothing large twice', async () => {
  const disk = diskOf(numbers(LARGE));
  const counting = new FaultyBucket(new MemoryBucket());
  await commitAndPush(await newStore(), counting, 'web', disk);
  for (const { number: at, method } of counting.requests)
    for (const after of method === 'put' || method === 'putNew' ? [false, true] : [false])
      for (const lasting of [false, true]) {
        const fault: BucketFault = { at, after, lasting };
        const place = await newStore();
        const memory = new MemoryBucket();
        const first = new FaultyBucket(memory, fault);
        const outcome = await commitAndPush(place, first, 'web', disk).catch((error: unknown) => error);
        if (outcome instanceof Error) expect(outcome).toMatchObject({ code: 'REMOTE_UNREACHABLE' });
        const noted = await notedPacks(join(place.path, 'imgstore/remotes/origin/uploaded.json'));
        const second = new FaultyBucket(memory);
        await pushAll(place, second);
        const again = putNames(second).filter((name) => noted.some(({ pack }) => name.includes(pack)));
        expect(again, JSON.stringify(fault)).toEqual([]);
        await expectWhole(place, memory);
      }
});

test('EarlyUploads notes what it has sent when nothing is pushed, and the next push takes it', async () => {
  const place = await newStore();
  const memory = new MemoryBucket();
  const { way } = await commitUnpushed(place, memory);
  await way.close();
  const bucket = new FaultyBucket(memory);
  await pushAll(place, bucket);
  // Pack and index of maps, which were too small to be noted.
  expect(putNames(bucket)).toHaveLength(2);
  await expectWhole(place, memory);
});

test('EarlyUploads sends nothing large again that a commit which was broken off has sent', async () => {
  const killed = await newStore();
  const memory = new MemoryBucket();
  const { way } = await commitUnpushed(killed, memory);
  await way.close();
  // What a kill leaves: nothing of the commit, and all that is known of the bucket.
  const place = await newStore();
  const remotes = 'imgstore/remotes';
  await cp(join(killed.path, remotes), join(place.path, remotes), { recursive: true });
  const bucket = new FaultyBucket(memory);
  await commitAndPush(place, bucket, 'web', diskOf(numbers(LARGE)));
  expect(putNames(bucket)).toHaveLength(2);
  expect((await listed(place, memory)).data).toBe(LARGE);
  await expectWhole(place, memory);
});

test('EarlyUploads leaves what comes faster than it is sent to the push', async () => {
  const place = await newStore();
  const memory = new MemoryBucket();
  const bucket = new FaultyBucket(memory);
  let letGo = () => {};
  const held = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  bucket.onRequest = ({ method }) => (method === 'put' ? held : undefined);
  const remote = bucketRemote(place.store, bucket, 'origin');
  const early = new EarlyUploads(remote, Promise.resolve(undefined), 64 * 1024);
  await early.ready;
  const { commit } = await commitBytes(place, 'web', diskOf(numbers(LARGE)), {}, { newObjects: early });
  // One of five is for maps.
  expect(putNames(bucket).length).toBeLessThanOrEqual(10);
  letGo();
  const progress: Progress[] = [];
  const sent = await early.finish({ onProgress: (each) => progress.push(each) });
  const bytes = sent.reduce((sum, { row }) => sum + row.bytes, 0);
  expect(progress.at(-1)).toEqual({ done: bytes, total: bytes });
  const count = sent.reduce((sum, { row }) => sum + row.objects, 0);
  expect(sent).toHaveLength(5);
  expect(count).toBeLessThan(LARGE / 2);
  const update = { name: 'refs/heads/web', before: NULL_ID, after: commit };
  await pushTo(remote, [update], {}, { sent });
  remote.indexes.close();
  expect(await listed(place, memory)).toMatchObject({ data: LARGE });
  await expectWhole(place, memory);
});

test('EarlyUploads leaves objects that are larger than its memory to the push', async () => {
  const place = await newStore(65536);
  const memory = new MemoryBucket();
  const remote = bucketRemote(place.store, memory, 'origin');
  const early = new EarlyUploads(remote, Promise.resolve(undefined), 32 * 1024);
  await early.ready;
  const { commit } = await commitBytes(place, 'web', diskOf(numbers(12), 65536), {}, { newObjects: early });
  const sent = await early.finish();
  expect(sent.map(({ row }) => row.kind)).toEqual(['maps']);
  const update = { name: 'refs/heads/web', before: NULL_ID, after: commit };
  await pushTo(remote, [update], {}, { sent });
  remote.indexes.close();
  await expectWhole(place, memory);
});

test('EarlyUploads leaves all to the push when what is known of the bucket cannot be read', async () => {
  const place = await newStore();
  const memory = new MemoryBucket();
  const remote = bucketRemote(place.store, memory, 'origin');
  const early = new EarlyUploads(remote, Promise.resolve(undefined));
  await early.ready;
  vi.spyOn(remote.indexes, 'has').mockImplementationOnce(() => {
    throw new ImgstoreError('IO', 'stale file handle');
  });
  const { commit } = await commitBytes(place, 'web', diskOf(numbers(12)), {}, { newObjects: early });
  expect(await early.finish()).toEqual([]);
  const update = { name: 'refs/heads/web', before: NULL_ID, after: commit };
  await pushTo(remote, [update], {}, { sent: [] });
  remote.indexes.close();
  await expectWhole(place, memory);
});

test('a push counts on no early pack that another push has had listed and gc has removed', async () => {
  const place = await newStore();
  const memory = new MemoryBucket();
  await commitBytes(place, 'other', diskOf([7777]));
  const { way, commit } = await commitUnpushed(place, memory);
  await withWay(place, memory, async (other, store) => {
    await other.refs();
    const after = (await store.refs.resolve('refs/heads/other'))!;
    await other.push([{ name: 'refs/heads/other', before: NULL_ID, after }]);
  });
  expect((await listed(place, memory)).data).toBeGreaterThan(LARGE);
  const host = await newStore();
  await withRemote(host, memory, (remote) => collectBucket(remote, 0, {}));
  await withRemote(host, memory, (remote) => collectBucket(remote, 0, {}));
  expect((await listed(place, memory)).data).toBe(1);
  await way.push([{ name: 'refs/heads/web', before: NULL_ID, after: commit }]);
  await way.close();
  await expectWhole(place, memory);
});

test('EarlyUploads sends by way of encryption', async () => {
  const place = await newStore();
  const memory = new MemoryBucket();
  const keys = await keysOf([newKeyPair()]);
  const encrypted = () => encryptedBucket(memory, keys);
  await commitAndPush(place, await encrypted(), 'web', diskOf(numbers(30)));
  const names = [...memory.objects.keys()].filter((name) => name.startsWith('packs/'));
  expect(names).toHaveLength(4);
  expect(names.every((name) => /^packs\/h[0-9a-f]{64}\.(pack|idx)$/.test(name))).toBe(true);
  await expectWhole(place, await encrypted());
});

test('EarlyUploads of two who push the same at once harm neither', async () => {
  const memory = new MemoryBucket();
  const places = [await newStore(), await newStore()];
  const disk = diskOf(numbers(60));
  await Promise.all(places.map((place, i) => commitAndPush(place, memory, `web${i}`, disk)));
  for (const [i, place] of places.entries()) {
    const other = `web${1 - i}`;
    expect((await listed(place, memory)).data).toBeGreaterThanOrEqual(60);
    const whole = await newStore();
    const way = new BucketTransport(whole.store, memory, 'origin');
    const { refs } = await way.refs();
    expect(refs.map(({ name }) => name)).toContain(`refs/heads/${other}`);
    await way.fetch(refs.map(({ id }) => id));
    await way.close();
  }
});
