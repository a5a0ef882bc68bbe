import { createHash, randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import type { Bucket, BucketEntry } from '../../remote/index.ts';

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();

/** All of what a bucket gives. */
export async function collected<T>(source: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const one of source) all.push(one);
  return all;
}

/**
 * What every {@link Bucket} must do, as tests.
 * @param kind for the tests' names
 * @param open gives an empty bucket; called once for each test, which closes it
 */
export function bucketConformance(kind: string, open: () => Promise<Bucket>): void {
  const withBucket = (name: string, body: (bucket: Bucket) => Promise<void>) =>
    test(`${kind} ${name}`, async () => {
      const bucket = await open();
      try {
        await body(bucket);
      } finally {
        await bucket.close();
      }
    });
  const names = async (bucket: Bucket, prefix = '', most?: number) =>
    (await collected(bucket.list(prefix, most))).map((entry: BucketEntry) => entry.name);

  withBucket('gives back what was put', async (bucket) => {
    await bucket.put('packs/a.pack', Buffer.from('hello'));
    expect(text(await bucket.get('packs/a.pack'))).toBe('hello');
    await bucket.put('packs/a.pack', Buffer.from('other'));
    expect(text(await bucket.get('packs/a.pack'))).toBe('other');
  });

  withBucket('gives back an empty object', async (bucket) => {
    await bucket.put('empty', new Uint8Array());
    expect(await bucket.get('empty')).toHaveLength(0);
    expect(await bucket.get('empty', { offset: 0, length: 10 })).toHaveLength(0);
    expect(await collected(bucket.read('empty'))).toEqual([]);
    expect((await bucket.stat('empty'))?.size).toBe(0);
  });

  withBucket('gives back ranges, and what there is of those that go past the end', async (bucket) => {
    await bucket.put('a', Buffer.from('0123456789'));
    const range = async (offset: number, length: number) => text(await bucket.get('a', { offset, length }));
    expect(await range(0, 10)).toBe('0123456789');
    expect(await range(3, 4)).toBe('3456');
    expect(await range(9, 1)).toBe('9');
    expect(await range(8, 100)).toBe('89');
    expect(await range(10, 1)).toBe('');
    expect(await range(100, 5)).toBe('');
    expect(await range(4, 0)).toBe('');
  });

  withBucket('reads from an offset on', async (bucket) => {
    const bytes = randomBytes(3 << 20);
    await bucket.put('a', bytes);
    for (const offset of [0, 1, 70_000, bytes.length - 1, bytes.length, bytes.length + 5]) {
      const read = Buffer.concat(await collected(bucket.read('a', offset)));
      expect(read.equals(bytes.subarray(offset))).toBe(true);
    }
  });

  withBucket('can be read by somebody who stops early', async (bucket) => {
    await bucket.put('a', randomBytes(3 << 20));
    for (let i = 0; i < 20; i++)
      for await (const bytes of bucket.read('a')) {
        expect(bytes.length).toBeGreaterThan(0);
        break;
      }
    expect((await bucket.stat('a'))?.size).toBe(3 << 20);
  });

  withBucket('puts what a source gives, with its hash known or not', async (bucket) => {
    const bytes = randomBytes(2_500_000);
    const source = {
      size: bytes.length,
      async *open() {
        yield bytes.subarray(0, 1_000_000);
        yield new Uint8Array();
        yield bytes.subarray(1_000_000);
      },
    };
    await bucket.put('a', source);
    await bucket.put('b', { ...source, sha256: createHash('sha256').update(bytes).digest('hex') });
    for (const name of ['a', 'b']) expect(bytes.equals(await bucket.get(name))).toBe(true);
  });

  withBucket('says NOT_FOUND for what is not there', async (bucket) => {
    await expect(bucket.get('no')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(bucket.get('no', { offset: 3, length: 5 })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(bucket.get('no', { offset: 3, length: 0 })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(collected(bucket.read('no'))).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(await bucket.stat('no')).toBeUndefined();
  });

  withBucket('tells size and time of an object', async (bucket) => {
    await bucket.put('a/b', Buffer.alloc(1234));
    const entry = (await bucket.stat('a/b'))!;
    expect(entry).toMatchObject({ name: 'a/b', size: 1234 });
    // The clocks are one and the same here; S3 cuts the time to seconds.
    expect(Math.abs(entry.modified.getTime() - Date.now())).toBeLessThan(600_000);
    const [listed] = await collected(bucket.list('a/'));
    expect(listed).toMatchObject({ name: 'a/b', size: 1234 });
  });

  withBucket('puts a new object once', async (bucket) => {
    expect(await bucket.putNew('a', Buffer.from('first'))).toBe(true);
    expect(await bucket.putNew('a', Buffer.from('second'))).toBe(false);
    expect(await bucket.putNew('a', Buffer.from('first'))).toBe(false);
    expect(text(await bucket.get('a'))).toBe('first');
    await bucket.remove(['a']);
    expect(await bucket.putNew('a', Buffer.from('third'))).toBe(true);
  });

  withBucket('lets one of many win who put a new object at once', async (bucket) => {
    const bodies = Array.from({ length: 16 }, (_, i) => Buffer.from(`writer ${i}`));
    const won = await Promise.all(bodies.map((body) => bucket.putNew('race', body)));
    expect(won.filter(Boolean)).toHaveLength(1);
    expect(text(await bucket.get('race'))).toBe(`writer ${won.indexOf(true)}`);
  });

  withBucket('lists by prefix, in bytewise order', async (bucket) => {
    expect(await names(bucket)).toEqual([]);
    const all = ['a', 'a-b', 'a/b', 'a/c/d', 'a0', 'aé', 'a\u{ff5e}', 'a\u{1f4be}', 'b'];
    for (const name of all.toReversed()) await bucket.put(name, Buffer.from(name));
    expect(await names(bucket)).toEqual(all);
    expect(await names(bucket, 'a/')).toEqual(['a/b', 'a/c/d']);
    expect(await names(bucket, 'a')).toEqual(all.slice(0, -1));
    expect(await names(bucket, '', 2)).toEqual(['a', 'a-b']);
    expect(await names(bucket, '', 0)).toEqual([]);
    expect(await names(bucket, 'c')).toEqual([]);
  });

  withBucket('lists more than a page of objects, and removes them', async (bucket) => {
    const all = Array.from({ length: 1003 }, (_, i) => `many/${String(i).padStart(5, '0')}`);
    for (let at = 0; at < all.length; at += 100)
      await Promise.all(all.slice(at, at + 100).map((name) => bucket.put(name, Buffer.from(name))));
    expect(await names(bucket, 'many/')).toEqual(all);
    expect(await names(bucket, 'many/', 1001)).toEqual(all.slice(0, 1001));
    await bucket.remove(all);
    expect(await names(bucket)).toEqual([]);
  });

  withBucket('takes names with characters that mean something elsewhere', async (bucket) => {
    const odd = [
      'a b+c',
      'a&b<c>"d\'e',
      'a%20b%zz',
      'a?b#c',
      'a=b;c:d@e$f!g(h)i*j~k',
      'ä/ö\u{1f4be}',
      'a\\b|c{d}[e]^`',
      '&amp;&#65;',
    ];
    for (const name of odd) await bucket.put(name, Buffer.from(name));
    expect(await names(bucket)).toEqual(
      odd.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))),
    );
    for (const name of odd) {
      expect(text(await bucket.get(name))).toBe(name);
      expect((await bucket.stat(name))?.name).toBe(name);
      expect(await names(bucket, name)).toEqual([name]);
    }
    await bucket.remove(odd);
    expect(await names(bucket)).toEqual([]);
  });

  withBucket('removes what is there, and does not mind what is not', async (bucket) => {
    for (const name of ['a', 'b', 'c']) await bucket.put(name, Buffer.from(name));
    await bucket.remove([]);
    await bucket.remove(['a']);
    await bucket.remove(['a']);
    await bucket.remove(['no', 'b', 'neither']);
    expect(await names(bucket)).toEqual(['c']);
  });

  withBucket('refuses names that would be another object on the way', async (bucket) => {
    for (const name of ['', '.', '..', 'a/../b', 'a/./b', 'a\nb', 'x'.repeat(1025), 'a\ud800b'])
      await expect(bucket.put(name, Buffer.from('x'))).rejects.toMatchObject({ code: 'BAD_NAME' });
    expect(await names(bucket)).toEqual([]);
  });

  withBucket('counts requests and bytes', async (bucket) => {
    const before = { ...bucket.traffic };
    await bucket.put('a', Buffer.alloc(1000));
    await bucket.get('a');
    expect(bucket.traffic.requests).toBe(before.requests + 2);
    expect(bucket.traffic.sentBytes).toBe(before.sentBytes + 1000);
    expect(bucket.traffic.receivedBytes).toBe(before.receivedBytes + 1000);
  });
}
