import { existsSync, readdirSync } from 'node:fs';
import { readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { indexName, RemoteIndexes, type RemotePack } from '../../../remote/index.ts';
import { temporaryFolder } from '../../block/temporary-folder.ts';
import { noise } from '../../objects/noise.ts';
import { type SampleObject, sampleObject, writePack } from '../../pack/pack-objects.ts';
import { MemoryBucket } from '../memory-bucket.ts';

interface Sample {
  readonly bucket: MemoryBucket;
  readonly rows: readonly RemotePack[];
  /** Of each pack. */
  readonly objects: readonly (readonly SampleObject[])[];
  readonly indexes: RemoteIndexes;
  /** Where they are kept. */
  readonly folder: string;
}

const UPLOAD = '01234567';

/** A bucket with the indexes of three packs, and nothing kept yet. */
async function sample(): Promise<Sample> {
  const bucket = new MemoryBucket();
  const rows: RemotePack[] = [];
  const objects = [1, 2, 3].map((pack) =>
    Array.from({ length: 20 * pack }, (_, i) => sampleObject('blob', noise(50 + i, 100 * pack + i))),
  );
  for (const each of objects) {
    const stem = await writePack(await temporaryFolder(), each);
    const [idx, pack] = await Promise.all([readFile(`${stem}.idx`), readFile(`${stem}.pack`)]);
    const checksum = idx.subarray(-64, -32).toString('hex');
    rows.push({
      pack: checksum,
      upload: UPLOAD,
      kind: 'data',
      bytes: pack.length,
      indexBytes: idx.length,
      objects: each.length,
    });
    put(bucket, checksum, idx);
  }
  const folder = join(await temporaryFolder(), 'indexes');
  return { bucket, rows, objects, indexes: open(bucket, folder), folder };
}

function open(bucket: MemoryBucket, folder: string): RemoteIndexes {
  const indexes = new RemoteIndexes(bucket, folder);
  onTestFinished(() => indexes.close());
  return indexes;
}

function put(bucket: MemoryBucket, pack: string, bytes: Uint8Array): void {
  bucket.objects.set(indexName({ pack, upload: UPLOAD }), { bytes, modified: new Date() });
}

const indexOf = ({ bucket, rows }: Sample, pack: number) => bucket.objects.get(indexName(rows[pack]!))!.bytes;

describe('RemoteIndexes', () => {
  test('finds every object of the packs in use, at the place that git has it at, and no others', async () => {
    const { rows, objects, indexes } = await sample();
    await indexes.use(rows.slice(0, 2));
    for (const [i, each] of objects.entries())
      for (const { id } of each) {
        expect(indexes.has(id)).toBe(i < 2);
        expect(indexes.find(id)?.pack).toBe(i < 2 ? rows[i] : undefined);
      }
    await indexes.use(rows.slice(1));
    expect(indexes.has(objects[0]![0]!.id)).toBe(false);
    expect(indexes.has(objects[2]![0]!.id)).toBe(true);
  });

  test('entryEnd is where the next entry begins, or the trailer', async () => {
    const { rows, objects, indexes } = await sample();
    await indexes.use(rows);
    const offsets = objects[1]!.map(({ id }) => indexes.find(id)!.offset).sort((a, b) => a - b);
    const ends = offsets.map((offset) => indexes.entryEnd(rows[1]!, offset));
    expect(ends).toEqual([...offsets.slice(1), rows[1]!.bytes - 32]);
  });

  test('asks for each index once, also when it is made anew', async () => {
    const { bucket, rows, indexes, folder } = await sample();
    await indexes.use(rows);
    await indexes.use(rows);
    await open(bucket, folder).use(rows);
    expect(bucket.traffic.requests).toBe(3);
    expect(readdirSync(folder).sort()).toEqual(rows.map(({ pack }) => `${pack}.idx`).sort());
  });

  test('use refuses an index with any bit flipped, and keeps nothing of it', async () => {
    const the = await sample();
    const whole = indexOf(the, 0);
    for (let at = 0; at < whole.length; at += 13) {
      const flipped = Uint8Array.from(whole);
      flipped[at]! ^= 1 << (at % 8);
      put(the.bucket, the.rows[0]!.pack, flipped);
      const indexes = open(the.bucket, the.folder);
      const error = await indexes.use([the.rows[0]!]).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: expect.stringMatching(/^(DAMAGED|UNSUPPORTED)$/) });
      expect((error as Error).message).toContain(`s3://memory: ${indexName(the.rows[0]!)}`);
      expect(existsSync(indexes.path(the.rows[0]!.pack))).toBe(false);
    }
  });

  test('use refuses an index that is cut, longer, empty, gone, or of another pack', async () => {
    const the = await sample();
    const whole = indexOf(the, 0);
    const wrong = [
      whole.subarray(0, -1),
      whole.subarray(0, 1000),
      Buffer.concat([whole, Buffer.alloc(8)]),
      new Uint8Array(),
      indexOf(the, 1),
    ];
    for (const bytes of wrong) {
      put(the.bucket, the.rows[0]!.pack, bytes);
      await expect(the.indexes.use(the.rows)).rejects.toMatchObject({ code: 'DAMAGED' });
      expect(existsSync(the.indexes.path(the.rows[0]!.pack))).toBe(false);
    }
    the.bucket.objects.delete(indexName(the.rows[0]!));
    await expect(the.indexes.use(the.rows)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    put(the.bucket, the.rows[0]!.pack, whole);
    await the.indexes.use(the.rows);
    for (const [{ id }] of the.objects as [SampleObject][]) expect(the.indexes.has(id)).toBe(true);
  });

  test('use refuses an index of another pack of the same size', async () => {
    const { bucket, rows, indexes, folder } = await sample();
    const other = await writePack(
      await temporaryFolder(),
      Array.from({ length: 20 }, (_, i) => sampleObject('blob', noise(50 + i, 900 + i))),
    );
    const bytes = await readFile(`${other}.idx`);
    expect(bytes.length).toBe(rows[0]!.indexBytes);
    put(bucket, rows[0]!.pack, bytes);
    await expect(indexes.use(rows)).rejects.toThrow('is of another pack');
    expect(readdirSync(folder)).not.toContain(`${rows[0]!.pack}.idx`);
  });

  test('use takes no more of an index than the list says it has', async () => {
    const { bucket, rows, indexes } = await sample();
    put(bucket, rows[0]!.pack, new Uint8Array(50_000_000));
    await expect(indexes.use([rows[0]!])).rejects.toMatchObject({ code: 'DAMAGED' });
    expect(bucket.traffic.receivedBytes).toBeLessThanOrEqual(rows[0]!.indexBytes + 1);
  });

  test('use fetches a kept index anew when a part of it is missing or is zeros', async () => {
    const { bucket, rows, objects, indexes, folder } = await sample();
    await indexes.use(rows);
    indexes.close();
    const path = indexes.path(rows[0]!.pack);
    const whole = await readFile(path);
    const tears = [
      () => truncate(path, 0),
      () => truncate(path, 100),
      () => truncate(path, whole.length - 1),
      () => writeFile(path, Buffer.alloc(whole.length)),
      () => writeFile(path, Buffer.concat([whole.subarray(0, 600), Buffer.alloc(whole.length - 600)])),
      () => rm(path),
    ];
    for (const tear of tears) {
      await tear();
      const before = bucket.traffic.requests;
      const again = open(bucket, folder);
      await again.use(rows);
      expect(bucket.traffic.requests - before).toBe(1);
      expect(again.has(objects[0]![0]!.id)).toBe(true);
      expect((await readFile(path)).equals(whole)).toBe(true);
    }
  });
});
