import { afterEach, expect, test } from 'vitest';
import { s3Bucket } from '../../../remote/bucket/s3/s3-bucket.ts';
import { type ProbeResult, probeBucket } from '../../../remote/index.ts';
import { FakeS3, type FakeS3Settings } from '../fake-s3.ts';
import { MemoryBucket } from '../memory-bucket.ts';
import { sharedRgw } from '../rgw.ts';

let fake: FakeS3 | undefined;
afterEach(async () => {
  await fake?.close();
  fake = undefined;
});

async function probeFake(settings: FakeS3Settings, prepare: (fake: FakeS3) => void = () => undefined) {
  fake = await FakeS3.start(settings);
  prepare(fake);
  const bucket = s3Bucket({ ...fake.options('p'), simultaneous: 16 });
  try {
    return await probeBucket(bucket);
  } finally {
    await bucket.close();
  }
}

const faults = (result: ProbeResult) =>
  result.findings.map(({ fault }) => fault).filter((fault) => fault !== undefined);

test('probeBucket finds nothing missing on Ceph, and leaves nothing behind', async () => {
  const rgw = await sharedRgw();
  const bucket = s3Bucket({ ...rgw.options(await rgw.newBucket()), simultaneous: 16 });
  const result = await probeBucket(bucket);
  expect(result).toMatchObject({ isFit: true, conditionalPut: 'atomic' });
  expect(faults(result)).toEqual([]);
  for await (const entry of bucket.list('')) expect.unreachable(entry.name);
  await bucket.close();
});

test('probeBucket finds nothing missing in memory', async () => {
  const bucket = new MemoryBucket();
  expect(await probeBucket(bucket)).toMatchObject({ isFit: true, conditionalPut: 'atomic' });
  expect(bucket.objects.size).toBe(0);
});

test('probeBucket finds nothing missing on a server that gives answers of 503 in between', async () => {
  const result = await probeFake({}, (server) => {
    server.faultOf = ({ number }) =>
      number % 5 === 0 ? { kind: 'status', status: 503, code: 'SlowDown' } : undefined;
  });
  expect(result).toMatchObject({ isFit: true, conditionalPut: 'atomic' });
});

test('probeBucket notices a server that ignores If-None-Match', async () => {
  const result = await probeFake({ conditional: 'ignored' });
  expect(result).toMatchObject({ isFit: false, conditionalPut: 'ignored' });
  expect(faults(result)[0]).toContain('ignores If-None-Match');
  expect(fake!.objects.size).toBe(0);
});

test('probeBucket notices a server that does not know If-None-Match', async () => {
  const result = await probeFake({ conditional: 'refused' });
  expect(result).toMatchObject({ isFit: false, conditionalPut: 'unsupported' });
  expect(faults(result)[0]).toContain('501');
  expect(fake!.objects.size).toBe(0);
});

test('probeBucket notices a server that looks first and puts then', async () => {
  const result = await probeFake({ conditional: 'racy' });
  expect(result).toMatchObject({ isFit: false, conditionalPut: 'racy' });
  expect(faults(result)).toEqual([expect.stringMatching(/^\d+ of 16 writers were told/)]);
  expect(fake!.objects.size).toBe(0);
});

test('probeBucket notices a server that gives other bytes than were put', async () => {
  const result = await probeFake({}, (server) => {
    server.faultOf = ({ method, key }) =>
      method === 'GET' && key !== undefined ? { kind: 'bit' } : undefined;
  });
  expect(result.isFit).toBe(false);
  expect(faults(result)).toContain('other bytes came back than were put');
  expect(fake!.objects.size).toBe(0);
});

test('probeBucket notices a server that shows in listings what is there, but not yet what is new', async () => {
  const result = await probeFake({}, (server) => {
    const empty = '<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>';
    server.faultOf = ({ query, number }) =>
      query.has('list-type') && number < 16 ? { kind: 'body', body: empty } : undefined;
  });
  expect(faults(result)).toEqual([expect.stringContaining('was put and is not listed')]);
});

test('probeBucket tells what cannot be removed', async () => {
  const denied = await probeFake({}, (server) => {
    server.faultOf = ({ method }) =>
      method === 'POST' ? { kind: 'status', status: 403, code: 'AccessDenied' } : undefined;
  });
  expect(denied).toMatchObject({ isFit: false, conditionalPut: 'atomic' });
  expect(faults(denied)).toEqual([expect.stringContaining('403 AccessDenied')]);
  await fake!.close();
  const result = await probeFake({}, (server) => {
    server.faultOf = ({ method }) =>
      method === 'POST' ? { kind: 'status', status: 200, body: '<DeleteResult/>' } : undefined;
  });
  expect(faults(result)).toEqual([expect.stringMatching(/is still there$/)]);
});

test('probeBucket fails when it is refused, having tried to clean up', async () => {
  const denied = probeFake({}, (server) => {
    server.faultOf = ({ method, number }) =>
      method === 'PUT' && number > 8 ? { kind: 'status', status: 403, code: 'AccessDenied' } : undefined;
  });
  await expect(denied).rejects.toMatchObject({ code: 'REMOTE_DENIED' });
  expect(fake!.objects.size).toBe(0);
});
