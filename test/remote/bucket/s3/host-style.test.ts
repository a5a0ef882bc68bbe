import dns from 'node:dns';
import { afterEach, expect, test, vi } from 'vitest';
import { s3Bucket } from '../../../../remote/bucket/s3/s3-bucket.ts';
import { collected } from '../../bucket-conformance.ts';
import { FakeS3 } from '../../fake-s3.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

test("openS3 puts the bucket into the host's name, and signs that", async () => {
  const fake = await FakeS3.start();
  const asked = new Set<string>();
  // No machine resolves names below .test.
  vi.spyOn(dns, 'lookup').mockImplementation(((host: string, options: { all?: boolean }, done: unknown) => {
    asked.add(host);
    const address = { address: '127.0.0.1', family: 4 };
    const callback = done as (error: null, address: unknown, family?: number) => void;
    process.nextTick(() => (options.all ? callback(null, [address]) : callback(null, '127.0.0.1', 4)));
  }) as typeof dns.lookup);
  const port = new URL(fake.endpoint).port;
  const bucket = s3Bucket({ ...fake.options('p'), endpoint: `http://s3.test:${port}`, pathStyle: false });
  await bucket.put('a b', Buffer.from('hello'));
  expect([...fake.objects.keys()]).toEqual(['p/a b']);
  expect((await collected(bucket.list(''))).map(({ name }) => name)).toEqual(['a b']);
  await bucket.remove(['a b', 'c']);
  expect(fake.objects.size).toBe(0);
  expect([...asked]).toEqual(['bucket.s3.test']);
  await bucket.close();
  await fake.close();
});
