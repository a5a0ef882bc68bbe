import { createHash, randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { s3Bucket } from '../../../../remote/bucket/s3/s3-bucket.ts';
import type { S3Limits } from '../../../../remote/index.ts';
import { sharedRgw } from '../../rgw.ts';
import { fakeBucket } from './fake-bucket.ts';

const BYTES = randomBytes(1_000_000);
/** Eleven parts of {@link BYTES}. */
const LIMITS: Partial<S3Limits> = { wholeBytes: 200_000, partBytes: 95_000 };

function source(bytes: Uint8Array, size = bytes.length) {
  return {
    size,
    sha256: createHash('sha256').update(bytes).digest('hex'),
    async *open() {
      for (let at = 0; at < bytes.length; at += 70_000) yield bytes.subarray(at, at + 70_000);
    },
  };
}

test('S3Bucket.put puts a large object in parts on Ceph', async () => {
  const rgw = await sharedRgw();
  const bytes = randomBytes(12 << 20);
  const bucket = s3Bucket({
    ...rgw.options(`${await rgw.newBucket()}/p`),
    // Ceph takes no smaller parts.
    limits: { wholeBytes: 1 << 20, partBytes: 5 << 20 },
  });
  await bucket.put('a b&c', source(bytes));
  expect(bytes.equals(await bucket.get('a b&c'))).toBe(true);
  expect(bucket.traffic.requests).toBe(1 + 3 + 1 + 1);
  await bucket.put('a b&c', source(bytes.subarray(0, 10 << 20)));
  expect((await bucket.stat('a b&c'))?.size).toBe(10 << 20);
  const lost = source(bytes, bytes.length + 1);
  await expect(bucket.put('b', lost)).rejects.toThrow('was announced');
  expect(await bucket.stat('b')).toBeUndefined();
  await bucket.close();
});

test('S3Bucket.put puts in parts what is larger than one request is to be', async () => {
  const { fake, bucket } = await fakeBucket({}, LIMITS);
  for (const size of [200_001, 285_000, 285_001, 1_000_000]) {
    fake.forget();
    await bucket.put('a', source(BYTES.subarray(0, size)));
    expect(fake.objects.get('p/a')?.bytes.equals(BYTES.subarray(0, size))).toBe(true);
    expect(fake.requests).toHaveLength(2 + Math.ceil(size / 95_000));
    expect(Math.max(...fake.requests.map(({ body }) => body.length))).toBe(95_000);
  }
  fake.forget();
  await bucket.put('a', source(BYTES.subarray(0, 200_000)));
  await bucket.put('b', BYTES);
  expect(fake.requests).toHaveLength(2);
  expect(fake.uploads.open.size).toBe(0);
});

test('S3Bucket.put sends pieces as they are when they have the length of a part, and looks for no hash of the whole', async () => {
  const { fake, bucket } = await fakeBucket({}, LIMITS);
  const asked: unknown[] = [];
  const body = {
    size: 400_000,
    findSha256: () => expect.unreachable('all would be read twice'),
    async *open(pieceBytes?: number) {
      asked.push(pieceBytes);
      for (let at = 0; at < 400_000; at += pieceBytes!)
        yield BYTES.subarray(at, Math.min(at + pieceBytes!, 400_000));
    },
  };
  await bucket.put('a', body);
  expect(asked).toEqual([95_000]);
  expect(fake.objects.get('p/a')?.bytes.equals(BYTES.subarray(0, 400_000))).toBe(true);
});

test('S3Bucket.put makes parts larger when there would be too many', async () => {
  const { fake, bucket } = await fakeBucket({}, { wholeBytes: 10, partBytes: 10 });
  await bucket.put('a', source(BYTES));
  expect(fake.requests).toHaveLength(2 + 10_000);
  expect(fake.objects.get('p/a')?.bytes.equals(BYTES)).toBe(true);
});

test('S3Bucket.put repeats single parts', async () => {
  const { fake, bucket } = await fakeBucket({}, LIMITS);
  fake.faultOf = ({ number }) => {
    if (number % 3 === 0) return { kind: 'reset-within' };
    return number % 4 === 0 ? { kind: 'reset-after' } : undefined;
  };
  await bucket.put('a', source(BYTES));
  expect(fake.objects.get('p/a')?.bytes.equals(BYTES)).toBe(true);
});

test('S3Bucket.put removes the parts when it fails', async () => {
  const { fake, bucket } = await fakeBucket({}, LIMITS);
  const isPart = (number: string) => (request: { query: URLSearchParams }) =>
    request.query.get('partNumber') === number
      ? ({ kind: 'status', status: 403, code: 'AccessDenied' } as const)
      : undefined;
  for (const number of ['1', '5', '11']) {
    fake.faultOf = isPart(number);
    await expect(bucket.put('a', source(BYTES))).rejects.toMatchObject({ code: 'REMOTE_DENIED' });
  }
  fake.faultOf = () => undefined;
  for (const body of [
    source(BYTES, 999_999),
    source(BYTES, 1_000_001),
    { ...source(BYTES), sha256: '0'.repeat(64) },
  ])
    await expect(bucket.put('a', body)).rejects.toThrow('was announced');
  const broken = {
    size: 1_000_000,
    async *open(): AsyncGenerator<Uint8Array> {
      yield BYTES.subarray(0, 500_000);
      throw new Error('the disk is broken');
    },
  };
  await expect(bucket.put('a', broken)).rejects.toThrow('the disk is broken');
  expect(fake.uploads.open.size).toBe(0);
  expect(fake.objects.size).toBe(0);
});

test('S3Bucket.put removes the parts when the signal ends it', async () => {
  const stop = new AbortController();
  const { fake, bucket } = await fakeBucket({}, LIMITS, { signal: stop.signal });
  fake.faultOf = ({ query }) => {
    if (query.get('partNumber') !== '6') return undefined;
    setTimeout(() => stop.abort(), 10);
    return { kind: 'stall' };
  };
  await expect(bucket.put('a', source(BYTES))).rejects.toMatchObject({ code: 'INTERRUPTED' });
  expect(fake.uploads.open.size).toBe(0);
  expect(fake.objects.size).toBe(0);
});

test('S3Bucket.put knows that the parts were put together when the answer to that was lost', async () => {
  const { fake, bucket } = await fakeBucket({}, LIMITS);
  let losses = 0;
  fake.faultOf = ({ method, query }) =>
    method === 'POST' && query.has('uploadId') && losses++ === 0 ? { kind: 'reset-after' } : undefined;
  await bucket.put('a', source(BYTES));
  expect(losses).toBe(2);
  expect(fake.objects.get('p/a')?.bytes.equals(BYTES)).toBe(true);
});

test('S3Bucket.put fails when the parts are lost, though another object has the name', async () => {
  const { fake, bucket } = await fakeBucket({}, LIMITS);
  fake.put('p/a', BYTES);
  let losses = 0;
  fake.faultOf = ({ method, query }) => {
    if (method !== 'POST' || !query.has('uploadId') || losses++ > 0) return undefined;
    fake.uploads.open.clear();
    return { kind: 'reset-before' };
  };
  await expect(bucket.put('a', source(BYTES))).rejects.toThrow('the server has lost the parts');
});

test('S3Bucket.put hears of a failure that comes after a status of 200', async () => {
  const { fake, bucket } = await fakeBucket({}, LIMITS);
  const body = '<Error><Code>InternalError</Code><Message>Try again.</Message></Error>';
  fake.faultOf = ({ method, query }) =>
    method === 'POST' && query.has('uploadId') ? { kind: 'status', status: 200, body } : undefined;
  await expect(bucket.put('a', source(BYTES))).rejects.toMatchObject({
    code: 'REMOTE_FAILED',
    message: 's3://bucket/p: POST a (all parts): InternalError: Try again. (6 attempts)',
  });
  expect(fake.uploads.open.size).toBe(0);
});

test('S3Bucket.put puts with one request where the server does not know parts', async () => {
  const { fake, bucket } = await fakeBucket({ hasUploads: false }, LIMITS);
  await bucket.put('a', source(BYTES));
  expect(fake.objects.get('p/a')?.bytes.equals(BYTES)).toBe(true);
  expect(fake.requests).toHaveLength(2);
});
