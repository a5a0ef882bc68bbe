import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { ImgstoreError } from '../../../errors/index.ts';
import { MapLookup, parseTree } from '../../../objects/index.ts';
import { packStore } from '../../../store/index.ts';
import { CachedDisk, type VersionReader } from '../../../store/serve/cached-disk.ts';
import { ClusterCache, type ClusterCacheOptions } from '../../../store/serve/cluster-cache.ts';
import type { Store } from '../../../store/store.ts';
import type { VersionDisk } from '../../../store/version/version.ts';
import { ClusterWorkers } from '../../../store/workers/pool.ts';
import { describeBlockSource } from '../../block/block-source-conformance.ts';
import { noise } from '../../qcow2/qemu.ts';
import { newStore, reopen, SMALL, type TestStore } from '../new-store.ts';
import { storeClusters } from '../version/make-version.ts';
import { watchJobs } from '../watch-jobs.ts';

const MIB = 2 ** 20;
/** Threads come up from so much data on. */
const MUCH = 64 * MIB;

function readerOf(
  store: Store,
  options: Partial<ClusterCacheOptions> & { threads?: boolean } = {},
): VersionReader {
  const { objects } = store;
  const workers = new ClusterWorkers(options.threads === false ? 0 : MUCH);
  const cache = new ClusterCache(objects, workers, {
    clusterSize: SMALL,
    mostBytes: 8 * MIB,
    idleMs: 60_000,
    ...options,
  });
  onTestFinished(async () => {
    cache.close();
    await workers.close();
  });
  return { objects, cache, maps: new MapLookup((id) => objects.readAs('tree', id)) };
}

const stored = (threads: boolean) => async (disk: Uint8Array) => {
  const { store } = await newStore(SMALL, { unpackLimit: 64 });
  return new CachedDisk(readerOf(store, { threads }), await storeClusters(store, disk, SMALL));
};

describeBlockSource('CachedDisk', stored(false), { runs: 40 });
describeBlockSource('CachedDisk with threads', stored(true), { runs: 40 });

/** A disk with zeros here and there, and equal clusters, packed and loose. */
async function sample(): Promise<TestStore & { disk: VersionDisk; bytes: Buffer }> {
  const made = await newStore(SMALL, { unpackLimit: 1 });
  const bytes = noise(300 * SMALL + 1234, 1);
  bytes.fill(0, 20 * SMALL, 40 * SMALL);
  bytes.copy(bytes, 100 * SMALL, 0, 5 * SMALL);
  const disk = await storeClusters(made.store, bytes, SMALL);
  return { ...made, disk, bytes };
}

/** Memory that threads can fill, and memory that they cannot. */
const memory = (length: number, isShared: boolean) =>
  isShared ? Buffer.from(new SharedArrayBuffer(length + 7)).subarray(7) : Buffer.alloc(length, 0xee);

test('CachedDisk.read gives the disk whatever is read at a time, with little memory', async () => {
  const { store, disk, bytes } = await sample();
  const reads = fc.array(
    fc.record({
      at: fc.integer({ min: 0, max: bytes.length }),
      length: fc.oneof(fc.integer({ min: 0, max: 3 * SMALL }), fc.integer({ min: 0, max: 200 * SMALL })),
      isShared: fc.boolean(),
    }),
    { minLength: 1, maxLength: 12 },
  );
  const source = new CachedDisk(readerOf(store, { mostBytes: 1 }), disk);
  await fc.assert(
    fc.asyncProperty(reads, async (all) => {
      await Promise.all(
        all.map(async ({ at, length, isShared }) => {
          const into = memory(Math.min(length, bytes.length - at), isShared);
          await source.read(at, into);
          expect(into.equals(bytes.subarray(at, at + into.length))).toBe(true);
        }),
      );
    }),
    { numRuns: 60 },
  );
});

test('CachedDisk reads deltas and whole clusters of a packed store', async () => {
  const made = await newStore(SMALL, { unpackLimit: 100_000 });
  const bytes = noise(200 * SMALL, 3);
  for (let i = 0; i < 100; i++) {
    bytes.copy(bytes, (100 + i) * SMALL, i * SMALL, (i + 1) * SMALL);
    bytes.writeUInt32LE(i + 1, (100 + i) * SMALL + 77);
  }
  const disk = await storeClusters(made.store, bytes, SMALL);
  expect((await packStore(made.store)).deltas).toBeGreaterThan(20);
  const store = await reopen(made.path);
  for (const isShared of [true, false]) {
    const into = memory(bytes.length, isShared);
    await new CachedDisk(readerOf(store), disk).read(0, into);
    expect(into.equals(bytes)).toBe(true);
  }
});

test('a cluster that several want at a time is read once, and stays in the cache', async () => {
  const { store, disk, bytes } = await sample();
  let items = 0;
  watchJobs('fetchPacked', (given) => {
    items += (given as readonly unknown[]).length;
  });
  const reader = readerOf(store);
  const [one, two] = [new CachedDisk(reader, disk), new CachedDisk(reader, disk)];
  const read = async (source: CachedDisk, at: number) => {
    const into = Buffer.alloc(100);
    await source.read(at, into);
    expect(into.equals(bytes.subarray(at, at + 100))).toBe(true);
  };
  const places = Array.from({ length: 12 }, (_, i) => (50 + i) * SMALL + 5);
  await Promise.all(places.flatMap((at) => [read(one, at), read(two, at + 50)]));
  expect(items).toBe(12);
  await Promise.all(places.map((at) => read(one, at + 200)));
  expect(items).toBe(12);
});

/** How many clusters were read after each of four rounds. */
async function readInRounds(round: (source: CachedDisk) => Promise<unknown>): Promise<readonly number[]> {
  const { store, disk } = await sample();
  let items = 0;
  watchJobs('fetchPacked', (given) => {
    items += (given as readonly unknown[]).length;
  });
  const source = new CachedDisk(readerOf(store), disk);
  const counts: number[] = [];
  for (let i = 0; i < 4; i++) {
    await round(source);
    counts.push(items);
  }
  return counts;
}

test('whole clusters go into the cache when they are read by themselves a second time', async () => {
  const counts = await readInRounds((source) => {
    const reads = Array.from({ length: 10 }, (_, i) => source.read((50 + i) * SMALL, memory(SMALL, true)));
    return Promise.all(reads);
  });
  expect(counts).toEqual([10, 20, 20, 20]);
});

test('whole clusters of which several are read at a time go past the cache, however often that is', async () => {
  const counts = await readInRounds((source) => source.read(50 * SMALL, memory(10 * SMALL, true)));
  expect(counts).toEqual([10, 20, 30, 40]);
});

test('a client that reads on and on finds in the cache what comes next', async () => {
  const { store, disk, bytes } = await sample();
  const reader = readerOf(store);
  const source = new CachedDisk(reader, disk);
  const into = Buffer.alloc(SMALL / 2);
  for (let at = 0; at < 3 * SMALL; at += into.length) await source.read(at, into);
  const wanted: number[] = [];
  const { cache } = reader;
  const before = cache.read.bind(cache);
  cache.read = (parts) => {
    const waiting = before(parts);
    wanted.push(waiting === undefined ? 0 : 1);
    return waiting;
  };
  await new Promise((resolve) => setTimeout(resolve, 300));
  for (let at = 3 * SMALL; at < 18 * SMALL; at += into.length) {
    await source.read(at, into);
    expect(into.equals(bytes.subarray(at, at + into.length))).toBe(true);
  }
  expect(wanted.every((waits) => waits === 0)).toBe(true);
});

test('ClusterCache keeps to its memory, and gives it back when nobody reads', async () => {
  const { store, disk } = await sample();
  const reader = readerOf(store, { mostBytes: 4 * MIB, idleMs: 40 });
  const source = new CachedDisk(reader, disk);
  for (let at = 0; at + 10 < source.size; at += SMALL) await source.read(at, Buffer.alloc(10));
  expect(reader.cache.bytes).toBe(4 * MIB);
  await expect.poll(() => reader.cache.bytes).toBe(0);
  const into = Buffer.alloc(10);
  await source.read(5, into);
  expect(into.equals(noise(15, 1).subarray(5))).toBe(true);
});

test('a damaged cluster fails for who reads it, and only then', async () => {
  const made = await newStore();
  const bytes = noise(20 * SMALL, 5);
  const disk = await storeClusters(made.store, bytes, SMALL);
  const reader = readerOf(made.store);
  const id = reader.maps.find(disk.map, 7)!;
  const path = made.store.objects.loose.path(id);
  chmodSync(path, 0o644);
  const whole = readFileSync(path);
  writeFileSync(path, whole.subarray(0, 100));
  const source = new CachedDisk(reader, disk);
  const read = (cluster: number, isShared: boolean) => {
    const into = memory(SMALL, isShared);
    return source
      .read(cluster * SMALL, into)
      .then(() => into.equals(bytes.subarray(cluster * SMALL, (cluster + 1) * SMALL)));
  };
  for (const isShared of [true, false]) {
    const ends = await Promise.allSettled(Array.from({ length: 20 }, (_, i) => read(i, isShared)));
    for (const [i, end] of ends.entries()) {
      if (i !== 7) expect(end).toEqual({ status: 'fulfilled', value: true });
      else
        expect(end).toMatchObject({
          status: 'rejected',
          reason: { code: 'DAMAGED', message: expect.stringContaining(id.slice(2)) },
        });
    }
  }
  writeFileSync(path, whole);
  expect(await read(7, false)).toBe(true);
  rmSync(path);
  await expect(
    new CachedDisk(readerOf(made.store), disk).read(7 * SMALL, Buffer.alloc(1)),
  ).rejects.toMatchObject({
    code: 'NOT_FOUND',
  });
});

test('a read succeeds when the map is damaged behind it, where it would be read ahead', async () => {
  const made = await newStore();
  const bytes = noise(300 * SMALL, 6);
  const disk = await storeClusters(made.store, bytes, SMALL);
  const reader = readerOf(made.store);
  const lost = [...parseTree(made.store.objects.readAs('tree', disk.map.id!))][1]!.id;
  const maps = new MapLookup((id) => {
    if (id === lost) throw new ImgstoreError('DAMAGED', `tree ${id}: is damaged`);
    return made.store.objects.readAs('tree', id);
  });
  const source = new CachedDisk({ ...reader, maps }, disk);
  const into = Buffer.alloc(SMALL / 2);
  for (let at = 0; at < 256 * SMALL; at += into.length) {
    await source.read(at, into);
    expect(into.equals(bytes.subarray(at, at + into.length))).toBe(true);
  }
  await expect(source.read(256 * SMALL, into)).rejects.toMatchObject({ code: 'DAMAGED' });
});

test('CachedDisk throws DAMAGED for a cluster that is not as long as it should be', async () => {
  const { store } = await newStore();
  const disk = await storeClusters(store, noise(10_000, 1), SMALL);
  const reader = readerOf(store);
  for (const virtualSize of [9_999, 10_001]) {
    const source = new CachedDisk(reader, { ...disk, virtualSize });
    for (const length of [1000, virtualSize - 8192])
      await expect(source.read(8192, memory(length, true))).rejects.toMatchObject({ code: 'DAMAGED' });
  }
});
