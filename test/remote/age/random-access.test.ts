import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ImgstoreError } from '../../../errors/index.ts';
import { encryptedBucket } from '../../../remote/index.ts';
import { keysOf, newKeyPair } from './age-tool.ts';
import { collect, PlainBucket } from './plain-bucket.ts';

const CHUNK = 65536;
const SIZES = [0, 1, 65535, 65536, 65537, 2 * 65536, 3 * 65536 + 5];
const NAME = 'states/1';

async function bucketWith(bytes: Uint8Array, recipients = 1) {
  const plain = new PlainBucket();
  const pairs = Array.from({ length: recipients }, newKeyPair);
  const keys = await keysOf(pairs);
  await (await encryptedBucket(plain, keys)).put(NAME, bytes);
  plain.asked.length = 0;
  return { plain, keys, fresh: () => encryptedBucket(plain, keys) };
}

describe.each(SIZES)('of %d bytes', (size) => {
  const bytes = randomBytes(size);

  test('get gives every range as it is in the plaintext, when the head is known and when not', async () => {
    const { fresh, plain } = await bucketWith(bytes);
    const warm = await fresh();
    const place = fc.oneof(
      fc.integer({ min: 0, max: size + 2 * CHUNK }),
      fc.constantFrom(0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, Math.max(0, size - 1), size, size + 1),
    );
    await fc.assert(
      fc.asyncProperty(place, place, fc.integer({ min: 1, max: 99_999 }), async (offset, length, piece) => {
        const want = bytes.subarray(offset, offset + length);
        expect(want.equals(await warm.get(NAME, { offset, length }))).toBe(true);
        expect(want.equals(await (await fresh()).get(NAME, { offset, length }))).toBe(true);
        plain.pieceBytes = piece;
        expect(bytes.subarray(offset).equals(await collect(warm.read(NAME, offset)))).toBe(true);
        expect(bytes.subarray(offset).equals(await collect((await fresh()).read(NAME, offset)))).toBe(true);
        expect(plain.openReads).toBe(0);
      }),
      { numRuns: 40 },
    );
  });

  test('get, read and stat give the whole and its size', async () => {
    const { fresh, plain } = await bucketWith(bytes);
    const bucket = await fresh();
    expect(bytes.equals(await bucket.get(NAME))).toBe(true);
    expect(bytes.equals(await collect(bucket.read(NAME)))).toBe(true);
    expect(await bucket.stat(NAME)).toEqual({
      name: NAME,
      size,
      modified: (await plain.stat(NAME))!.modified,
    });
  });
});

test('get reads only the chunks of a range, and the head once', async () => {
  const { plain, fresh } = await bucketWith(randomBytes(20 * CHUNK));
  const bucket = await fresh();
  plain.asked.length = 0;
  await bucket.get(NAME, { offset: 10 * CHUNK + 5, length: 10 });
  await bucket.get(NAME, { offset: 12 * CHUNK - 1, length: 2 });
  await bucket.get(NAME, { offset: 3, length: 4 });
  expect(plain.asked.map(({ bytes }) => bytes)).toEqual([1024, CHUNK + 16, 2 * (CHUNK + 16), CHUNK + 16]);
});

test('get reads the head together with a range in the first chunk', async () => {
  const { plain, fresh } = await bucketWith(randomBytes(20 * CHUNK));
  const bucket = await fresh();
  plain.asked.length = 0;
  await bucket.get(NAME, { offset: 8, length: 1024 });
  expect(plain.asked.map(({ bytes }) => bytes)).toEqual([1024 + CHUNK + 16]);
});

test('many gets at once of one object read its head once', async () => {
  const { plain, fresh } = await bucketWith(randomBytes(20 * CHUNK));
  const bucket = await fresh();
  plain.asked.length = 0;
  await Promise.all([5, 6, 7, 8].map((i) => bucket.get(NAME, { offset: i * CHUNK, length: 1 })));
  expect(plain.asked.filter(({ bytes }) => bytes === 1024)).toHaveLength(1);
});

test('get and read find the end of a header that is longer than what is read at first', async () => {
  const bytes = randomBytes(2 * CHUNK + 3);
  const { fresh } = await bucketWith(bytes, 40);
  const ranges = [
    { offset: 0, length: 5 },
    { offset: 5, length: 2 * CHUNK },
    { offset: 2 * CHUNK, length: 9 },
  ];
  for (const { offset, length } of ranges) {
    const part = await (await fresh()).get(NAME, { offset, length });
    expect(bytes.subarray(offset, offset + length).equals(part)).toBe(true);
  }
  expect(bytes.equals(await collect((await fresh()).read(NAME)))).toBe(true);
  expect(bytes.subarray(1).equals(await collect((await fresh()).read(NAME, 1)))).toBe(true);
});

test('get, read and stat see an object that another writer has put over one whose head is known', async () => {
  const { fresh } = await bucketWith(randomBytes(3 * CHUNK));
  const [one, other] = [await fresh(), await fresh()];
  const use = {
    get: () => one.get(NAME, { offset: CHUNK, length: 4 }),
    read: () => collect(one.read(NAME, CHUNK)),
    stat: async () => Buffer.from(`${(await one.stat(NAME))!.size}`),
  };
  for (const [method, check] of Object.entries(use)) {
    await one.get(NAME, { offset: 0, length: 1 });
    const next = randomBytes(CHUNK + 4);
    await other.put(NAME, next);
    const got = await check();
    expect([method, Buffer.from(got)]).toEqual([
      method,
      method === 'stat' ? Buffer.from(`${next.length}`) : next.subarray(CHUNK),
    ]);
  }
});

test('get finds an object that was put after it was looked for, and one whose first reading failed', async () => {
  const { fresh, plain } = await bucketWith(randomBytes(1));
  const [one, other] = [await fresh(), await fresh()];
  for (const range of [
    { offset: 0, length: 1 },
    { offset: CHUNK, length: 1 },
  ]) {
    const name = `states/late-${range.offset}`;
    await expect(one.get(name, range)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await other.put(name, Buffer.alloc(CHUNK + 1, 7));
    expect([...(await one.get(name, range))]).toEqual([7]);
  }
  const third = await fresh();
  const get = plain.get.bind(plain);
  plain.get = async () => {
    plain.get = get;
    throw new ImgstoreError('REMOTE_UNREACHABLE', 'no answer');
  };
  await expect(third.get(NAME, { offset: CHUNK, length: 1 })).rejects.toMatchObject({
    code: 'REMOTE_UNREACHABLE',
  });
  expect(await third.get(NAME, { offset: CHUNK, length: 1 })).toHaveLength(0);
});

test('read of an object closes the connection when the reader stops, wherever it began', async () => {
  const { plain, fresh } = await bucketWith(randomBytes(5 * CHUNK));
  const bucket = await fresh();
  for (const offset of [0, 1, CHUNK]) {
    for await (const _ of bucket.read(NAME, offset)) break;
    expect(plain.openReads).toBe(0);
  }
});
