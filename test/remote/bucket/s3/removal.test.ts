import { expect, test } from 'vitest';
import { fakeBucket } from './fake-bucket.ts';

const deleteResult = (key: string, code: string) =>
  `<DeleteResult><Error><Key>${key}</Key><Code>${code}</Code><Message>Why.</Message></Error></DeleteResult>`;

test('S3Bucket.remove removes a thousand objects with one request', async () => {
  const { fake, bucket } = await fakeBucket();
  const names = Array.from({ length: 2500 }, (_, i) => `n${i}`);
  for (const name of names) fake.put(`p/${name}`, Buffer.alloc(0));
  fake.put('q', Buffer.alloc(0));
  await bucket.remove(names);
  expect([...fake.objects.keys()]).toEqual(['q']);
  expect(fake.requests).toHaveLength(3);
});

test('S3Bucket.remove removes one by one where the server does not know better, and asks but once', async () => {
  const { fake, bucket } = await fakeBucket({ deletesMany: false });
  for (const name of ['a', 'b', 'c', 'd']) fake.put(`p/${name}`, Buffer.alloc(0));
  await bucket.remove(['a', 'b', 'no']);
  await bucket.remove(['c', 'd']);
  expect(fake.objects.size).toBe(0);
  expect(fake.requests.filter(({ method }) => method === 'POST')).toHaveLength(1);
});

test('S3Bucket.remove does not mind a server that says 404 for what is not there', async () => {
  const { fake, bucket } = await fakeBucket({ deletesMany: false });
  fake.faultOf = ({ method }) =>
    method === 'DELETE' ? { kind: 'status', status: 404, code: 'NoSuchKey' } : undefined;
  await bucket.remove(['a', 'b']);
});

test('S3Bucket.remove tells which object could not be removed', async () => {
  const { fake, bucket } = await fakeBucket();
  fake.faultOf = () => ({ kind: 'body', body: deleteResult('p/b', 'AccessDenied') });
  await expect(bucket.remove(['a', 'b'])).rejects.toMatchObject({
    code: 'REMOTE_DENIED',
    message: 's3://bucket/p: DELETE a and 1 more: p/b: AccessDenied: Why.',
  });
  fake.faultOf = () => ({ kind: 'body', body: deleteResult('p/b', 'ObjectLocked') });
  await expect(bucket.remove(['a', 'b'])).rejects.toMatchObject({ code: 'REMOTE_FAILED' });
  fake.faultOf = () => ({ kind: 'body', body: deleteResult('p/b', 'NoSuchKey') });
  await bucket.remove(['a', 'b']);
});

test('S3Bucket.remove repeats the request when a key had a fault that may pass', async () => {
  const { fake, bucket } = await fakeBucket();
  fake.failNext({ kind: 'body', body: deleteResult('p/b', 'InternalError') });
  await bucket.remove(['a', 'b']);
  expect(fake.requests).toHaveLength(2);
});

test('S3Bucket.remove one by one fails when one of them is refused', async () => {
  const { fake, bucket } = await fakeBucket({ deletesMany: false });
  for (const name of ['a', 'b', 'c']) fake.put(`p/${name}`, Buffer.alloc(0));
  fake.faultOf = ({ key }) =>
    key === 'p/b' ? { kind: 'status', status: 403, code: 'AccessDenied' } : undefined;
  await expect(bucket.remove(['a', 'b', 'c'])).rejects.toMatchObject({ code: 'REMOTE_DENIED' });
  expect([...fake.objects.keys()]).toEqual(['p/b']);
});
