import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { NULL_ID } from '../../../../objects/index.ts';
import type { Bucket, RemotePack } from '../../../../remote/index.ts';
import { indexName, packName, RemoteStates } from '../../../../remote/index.ts';
import { EMPTY_CONTENT } from '../../../../remote/layout/state.ts';
import { collectBucket } from '../../../../store/remote/bucket/gc.ts';
import { UploadJournal } from '../../../../store/remote/bucket/journal.ts';
import { listedInTime } from '../../../../store/remote/bucket/listed-in-time.ts';
import { BucketTransport } from '../../../../store/remote/bucket/transport.ts';
import { Uploads } from '../../../../store/remote/bucket/uploads.ts';
import { verifyBucket } from '../../../../store/remote/bucket/verify.ts';
import { packRow } from '../../../remote/layout/contents.ts';
import { MemoryBucket } from '../../../remote/memory-bucket.ts';
import { diskOf } from '../../disks.ts';
import { commitBytes, newStore, type TestStore } from '../../new-store.ts';
import { pushBranches, withRemote } from './ways.ts';

const DAY_MS = 24 * 60 * 60 * 1000;

function numbers(count: number, first: number): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}

const collect = ({ store }: TestStore, bucket: Bucket) =>
  withRemote({ store }, bucket, (remote) => collectBucket(remote, 0, {}));

const verify = ({ store }: TestStore, bucket: Bucket) =>
  withRemote({ store }, bucket, (remote) => verifyBucket(remote, { share: 1, repair: false }, {}));

function push({ store }: TestStore, bucket: Bucket, ...branches: string[]) {
  const transport = new BucketTransport(store, bucket, 'origin');
  onTestFinished(() => transport.close());
  return pushBranches(transport, store, branches);
}

/** A bucket of one pack of clusters, of which less than half is needed. */
async function halfEmpty(): Promise<{ readonly place: TestStore; readonly bucket: MemoryBucket }> {
  const place = await newStore();
  await commitBytes(place, 'web', diskOf(numbers(40, 1)));
  await commitBytes(place, 'large', diskOf(numbers(200, 1000)));
  const bucket = new MemoryBucket();
  await push(place, bucket, 'web', 'large');
  const states = new RemoteStates(bucket);
  const refs = [{ name: 'refs/heads/large', id: NULL_ID }];
  await states.publish(await states.newest(), { refs });
  return { place, bucket };
}

afterEach(() => {
  vi.useRealTimers();
});

describe('collectBucket', () => {
  test('keeps what is needed when the pack that it writes is there already under another name', async () => {
    const { place, bucket } = await halfEmpty();
    const states = new RemoteStates(bucket);
    const old = [...(await states.newest()).content.packs.values()].find(({ kind }) => kind === 'data')!;
    const files = [packName(old), indexName(old)].map((name) => bucket.objects.get(name)!);
    await collect(place, bucket);
    expect((await verify(place, bucket)).clean).toBe(true);
    // Another store, which has the same pack, sends it again.
    const again = { ...old, upload: 'abcd0123' };
    bucket.objects.set(packName(again), files[0]!);
    bucket.objects.set(indexName(again), files[1]!);
    await states.publish(await states.newest(), { added: [again] });
    await collect(place, bucket);
    expect(await verify(place, bucket)).toMatchObject({ missing: [], clean: true });
  });
});

describe('collectBucket', () => {
  test('removes what no state lists after days, and nothing that is not of the remote', async () => {
    const { place, bucket } = await halfEmpty();
    const modified = new Date(Date.now() - 30 * DAY_MS);
    const id = 'ab'.repeat(32);
    const own = [`packs/${id}.01234567.pack`, `packs/h${id}.idx`, `checkpoints/${id}`, `checkpoints/h${id}`];
    const others = [
      'checkpoints/imgstore.json',
      `checkpoints/packs/${id}.01234567.pack`,
      'checkpoints/states/999999999999998',
      'packs/holiday.jpg',
      `packs/${id}.pack.bak`,
      'states/zzz',
    ];
    for (const name of [...own, ...others]) bucket.objects.set(name, { bytes: Buffer.from('x'), modified });
    await collect(place, bucket);
    const left = [...bucket.objects.keys()];
    expect(left.filter((name) => own.includes(name))).toEqual([]);
    expect(left.filter((name) => others.includes(name))).toEqual(others);
  });
});

describe('collectBucket', () => {
  test('leaves what a push that broke off has sent for the next one when there is nothing to write anew', async () => {
    const place = await newStore();
    await commitBytes(place, 'web', diskOf(numbers(5, 1)));
    const bucket = new MemoryBucket();
    await push(place, bucket, 'web');
    const [old] = (await new RemoteStates(bucket).newest()).content.packs.values();
    // Shorter ones are not noted.
    const row = { ...old!, upload: 'abcd0123', bytes: 2 ** 20 };
    bucket.objects.set(packName(row), { bytes: Buffer.alloc(row.bytes), modified: new Date() });
    bucket.objects.set(indexName(row), bucket.objects.get(indexName(old!))!);
    await withRemote(place, bucket, async (remote) => {
      const open = async () => {
        const { content } = await remote.states.newest();
        return UploadJournal.open(place.store, remote.place.journal, bucket, content);
      };
      await (await open()).add(row, Date.now());
      await collectBucket(remote, 2 * DAY_MS, {});
      expect((await open()).packs).toEqual([row]);
    });
  });
});

describe('BucketTransport.push and gc of another machine', () => {
  test('leaves a whole remote when the machine sleeps for days while it pushes', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const [place, other] = [await newStore(), await newStore()];
    await commitBytes(other, 'first', diskOf(numbers(10, 7000)));
    const bucket = new MemoryBucket();
    await push(other, bucket, 'first');
    await commitBytes(place, 'web', diskOf(numbers(40, 1)));
    asleepAfterFirstPack(bucket, async () => {
      vi.setSystemTime(Date.now() + 3 * DAY_MS);
      await collect(other, bucket);
    });
    const { results } = await push(place, bucket, 'web');
    expect(results).toEqual([{ name: 'refs/heads/web' }]);
    expect(await verify(place, bucket)).toMatchObject({ damaged: [], missing: [], clean: true });
  });

  test('lists what it has sent when it takes many hours, so that it comes to an end', async () => {
    const { store } = await newStore();
    const bucket = new MemoryBucket();
    await withRemote({ store }, bucket, async (remote) => {
      const journal = await UploadJournal.open(store, remote.place.journal, bucket, EMPTY_CONTENT);
      const uploads = new Uploads(bucket, remote.indexes, journal, {});
      const rows: RemotePack[] = [];
      const add = async ({ row }: { readonly row: RemotePack }) => {
        rows.push(row);
        await journal.add(row, Date.now() - (rows.length === 1 ? 0 : DAY_MS / 2));
      };
      const send = listedInTime(remote, Object.assign(uploads, { add }), journal);
      await send({ row: packRow(1), stem: '' });
      expect((await remote.states.newest()).number).toBe(0);
      await send({ row: packRow(2), stem: '' });
      const { content } = await remote.states.newest();
      expect([...content.packs.values()]).toEqual(rows);
      expect(journal.packs).toEqual([]);
    });
  });
});

describe('verifyBucket', () => {
  test('reads what the bucket has, whatever a killed one has left', async () => {
    const { place, bucket } = await halfEmpty();
    const row = [...(await new RemoteStates(bucket).newest()).content.packs.values()].find(
      ({ kind }) => kind === 'maps',
    )!;
    await withRemote(place, bucket, async ({ place: { looked } }) => {
      const folder = join(looked, 'objects', 'pack');
      await mkdir(folder, { recursive: true });
      const ends = { pack: packName(row), idx: indexName(row) };
      for (const [ending, name] of Object.entries(ends))
        await writeFile(join(folder, `pack-${row.pack}.${ending}`), bucket.objects.get(name)!.bytes);
    });
    const stored = bucket.objects.get(packName(row))!;
    const bytes = Uint8Array.from(stored.bytes);
    bytes[bytes.length >> 1]! ^= 1;
    bucket.objects.set(packName(row), { ...stored, bytes });
    expect(await verify(place, bucket)).toMatchObject({ damaged: [{ name: packName(row) }], clean: false });
  });
});

/** Does something when the first pack, and its index, are there. */
function asleepAfterFirstPack(bucket: MemoryBucket, work: () => Promise<void>): void {
  const put = bucket.put.bind(bucket);
  let left = 2;
  bucket.put = async (name, body) => {
    await put(name, body);
    if (--left !== 0) return;
    await work();
  };
}
