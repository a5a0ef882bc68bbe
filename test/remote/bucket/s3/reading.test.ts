import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { collected } from '../../bucket-conformance.ts';
import type { Fault } from '../../fake-s3-faults.ts';
import { fakeBucket } from './fake-bucket.ts';

const BYTES = randomBytes(300_000);
const whole = async (source: AsyncIterable<Uint8Array>) => Buffer.concat(await collected(source));

test('S3Bucket.read takes a body up where it broke, as often as that happens', async () => {
  const { fake, bucket } = await fakeBucket();
  fake.put('p/a', BYTES);
  // More often than there are attempts at one thing.
  fake.failNext(...Array.from({ length: 12 }, (): Fault => ({ kind: 'cut', bytes: 20_000 })));
  expect((await whole(bucket.read('a'))).equals(BYTES)).toBe(true);
  expect(fake.requests).toHaveLength(13);
  expect(fake.requests.map(({ headers }) => headers.range)).toEqual([
    undefined,
    ...Array.from({ length: 12 }, (_, i) => `bytes=${(i + 1) * 20_000}-`),
  ]);
  expect(bucket.traffic.receivedBytes).toBe(BYTES.length);
});

test('S3Bucket.get takes a range up where it broke', async () => {
  const { fake, bucket } = await fakeBucket();
  fake.put('p/a', BYTES);
  fake.failNext({ kind: 'cut', bytes: 1000 }, { kind: 'short', bytes: 500 }, { kind: 'reset-before' });
  const part = await bucket.get('a', { offset: 5000, length: 100_000 });
  expect(BYTES.subarray(5000, 105_000).equals(part)).toBe(true);
  expect(fake.requests.map(({ headers }) => headers.range)).toEqual([
    'bytes=5000-104999',
    'bytes=6000-104999',
    'bytes=6500-104999',
    'bytes=6500-104999',
  ]);
});

test('S3Bucket.read takes a body up that stopped without an end', async () => {
  const { fake, bucket } = await fakeBucket({}, { silenceMs: 150 });
  fake.put('p/a', BYTES);
  fake.failNext({ kind: 'stall-within', bytes: 70_000 });
  expect((await whole(bucket.read('a'))).equals(BYTES)).toBe(true);
});

test('S3Bucket.read takes a body up from a server that does not know ranges', async () => {
  const { fake, bucket } = await fakeBucket({ hasRanges: false });
  fake.put('p/a', BYTES);
  fake.failNext({ kind: 'cut', bytes: 100_000 }, { kind: 'cut', bytes: 150_000 });
  expect((await whole(bucket.read('a', 10))).equals(BYTES.subarray(10))).toBe(true);
});

test('S3Bucket.read gives up a body that never goes on', async () => {
  const { fake, bucket } = await fakeBucket();
  fake.put('p/a', BYTES);
  fake.faultOf = ({ number }) => ({ kind: 'cut', bytes: number === 1 ? 1000 : 0 });
  await expect(whole(bucket.read('a'))).rejects.toMatchObject({
    code: 'REMOTE_UNREACHABLE',
    message: 's3://bucket/p: GET a: the answer broke off (6 attempts)',
  });
  expect(fake.requests).toHaveLength(6);
});

test('S3Bucket.read fails when the object is replaced midway', async () => {
  for (const other of [randomBytes(BYTES.length), BYTES.subarray(1), Buffer.from('short')]) {
    const { fake, bucket } = await fakeBucket();
    fake.put('p/a', BYTES);
    fake.faultOf = ({ number }) => (number === 1 ? { kind: 'cut', bytes: 1000 } : undefined);
    const reader = bucket.read('a')[Symbol.asyncIterator]();
    await reader.next();
    fake.put('p/a', other);
    const rest = (async () => {
      while (!(await reader.next()).done);
    })();
    await expect(rest).rejects.toMatchObject({
      code: 'REMOTE_FAILED',
      message: expect.stringContaining('was replaced while it was read'),
    });
  }
});

test('S3Bucket.read fails when the object is removed midway', async () => {
  const { fake, bucket } = await fakeBucket();
  fake.put('p/a', BYTES);
  fake.failNext({ kind: 'cut', bytes: 1000 });
  const reader = bucket.read('a')[Symbol.asyncIterator]();
  await reader.next();
  fake.objects.clear();
  await expect(reader.next()).rejects.toMatchObject({ code: 'NOT_FOUND' });
});

test('S3Bucket.get refuses an answer for another range', async () => {
  const { fake, bucket } = await fakeBucket();
  fake.put('p/a', BYTES);
  for (const range of ['bytes 0-99/300000', 'bytes 7-106', '', 'bytes */300000'])
    for (const status of ['once', 'always']) {
      const fault: Fault = { kind: 'headers', headers: { 'Content-Range': range } };
      fake.failNext(fault);
      if (status === 'always') fake.faultOf = () => fault;
      const part = bucket.get('a', { offset: 7, length: 100 });
      if (status === 'once') expect(BYTES.subarray(7, 107).equals(await part)).toBe(true);
      else
        await expect(part).rejects.toMatchObject({
          code: 'REMOTE_FAILED',
          message: expect.stringContaining('for another range'),
        });
    }
});

test('S3Bucket.get refuses more bytes than it asked for', async () => {
  const { fake, bucket } = await fakeBucket();
  fake.put('p/a', BYTES);
  fake.faultOf = () => ({ kind: 'body', body: 'x'.repeat(101) });
  await expect(bucket.get('a', { offset: 7, length: 100 })).rejects.toMatchObject({ code: 'REMOTE_FAILED' });
});

test('S3Bucket.stat refuses an answer without size or time', async () => {
  const { fake, bucket } = await fakeBucket();
  fake.put('p/a', BYTES);
  for (const headers of [
    { 'Last-Modified': 'long ago' },
    { 'Last-Modified': '' },
    { 'Content-Length': '' },
  ]) {
    fake.faultOf = () => ({ kind: 'headers', headers: headers as Record<string, string> });
    await expect(bucket.stat('a')).rejects.toMatchObject({ code: 'REMOTE_FAILED' });
  }
});

test('S3Bucket.read lets others on when its reader stops early', async () => {
  const { fake, bucket } = await fakeBucket({}, {}, { simultaneous: 1 });
  fake.put('p/a', randomBytes(5 << 20));
  for (let i = 0; i < 3; i++) for await (const _ of bucket.read('a')) break;
  expect(await bucket.get('a', { offset: 0, length: 5 })).toHaveLength(5);
});
