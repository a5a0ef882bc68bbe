import { expect, test } from 'vitest';
import { collected } from '../../bucket-conformance.ts';
import type { FakeS3 } from '../../fake-s3.ts';
import type { Fault } from '../../fake-s3-faults.ts';
import { fakeBucket } from './fake-bucket.ts';

const SLOW_DOWN: Fault = { kind: 'status', status: 503, code: 'SlowDown', message: 'Please slow down.' };

/** Faults that pass. */
const PASSING: Readonly<Record<string, Fault>> = {
  'a status of 500': { kind: 'status', status: 500, code: 'InternalError' },
  'a status of 503': SLOW_DOWN,
  'a status of 502 with a page of a proxy': {
    kind: 'status',
    status: 502,
    body: '<html><p>Bad gateway</html>',
  },
  'a status of 429': { kind: 'status', status: 429, body: '' },
  'a status of 400 for a slow connection': { kind: 'status', status: 400, code: 'RequestTimeout' },
  'a reset connection': { kind: 'reset-before' },
  'a reset connection after the effect': { kind: 'reset-after' },
  'a status of 500 after the effect': { kind: 'status-after', status: 500 },
  silence: { kind: 'stall' },
  'what is no HTTP': { kind: 'no-http' },
};

for (const [name, fault] of Object.entries(PASSING))
  test(`openS3 repeats every kind of request after ${name}`, async () => {
    const { fake, bucket } = await fakeBucket({}, { silenceMs: fault.kind === 'stall' ? 100 : 20_000 });
    const thing = async <T>(act: () => Promise<T>): Promise<T> => {
      fake.failNext(fault, fault);
      const result = await act();
      expect(fake.requests.length).toBe(3);
      return result;
    };
    await thing(() => bucket.put('a', Buffer.from('hello')));
    expect(fake.objects.get('p/a')?.bytes.toString()).toBe('hello');
    expect(Buffer.from(await thing(() => bucket.get('a'))).toString()).toBe('hello');
    // An answer to HEAD has no body, which would tell this 400 from others.
    if (!('status' in fault && fault.status === 400))
      expect((await thing(() => bucket.stat('a')))?.size).toBe(5);
    expect(await thing(() => collected(bucket.list('')))).toHaveLength(1);
    expect(Buffer.concat(await thing(() => collected(bucket.read('a', 1)))).toString()).toBe('ello');
    await bucket.put('b', Buffer.from('other'));
    await thing(() => bucket.remove(['a', 'b']));
    await thing(() => bucket.remove(['a']));
    expect(fake.objects.size).toBe(0);
  });

test('openS3 gives up after six attempts, and says what the last one met', async () => {
  const { fake, bucket } = await fakeBucket();
  fake.faultOf = () => SLOW_DOWN;
  await expect(bucket.put('a', Buffer.from('x'))).rejects.toMatchObject({
    code: 'REMOTE_UNREACHABLE',
    message: 's3://bucket/p: PUT a: 503 SlowDown: Please slow down (6 attempts)',
  });
  expect(fake.requests).toHaveLength(6);
});

test('openS3 says REMOTE_FAILED when what comes is no S3 again and again', async () => {
  const { fake, bucket } = await fakeBucket();
  fake.faultOf = () => ({ kind: 'body', body: '<html>Welcome</html>' });
  await expect(collected(bucket.list(''))).rejects.toMatchObject({
    code: 'REMOTE_FAILED',
    message: 's3://bucket/p: LIST: the answer is no ListBucketResult (6 attempts)',
  });
});

test('openS3 does not repeat what was refused', async () => {
  const { fake, bucket } = await fakeBucket();
  for (const status of [400, 403, 404, 405, 501]) {
    fake.failNext({ kind: 'status', status });
    await expect(bucket.put('a', Buffer.from('x'))).rejects.toThrow(`${status}`);
    expect(fake.requests).toHaveLength(1);
  }
});

test('openS3 waits as long as Retry-After says', async () => {
  const { fake, bucket } = await fakeBucket({}, { firstPauseMs: 1, longestPauseMs: 5000 });
  const slow = { ...SLOW_DOWN, headers: { 'Retry-After': '1' } } as Fault;
  const took = async (server: FakeS3, fault: Fault) => {
    server.failNext(fault);
    const begin = performance.now();
    await bucket.put('a', Buffer.from('x'));
    return performance.now() - begin;
  };
  expect(await took(fake, slow)).toBeGreaterThan(990);
  const soon = new Date(Date.now() + 3000).toUTCString();
  expect(await took(fake, { ...SLOW_DOWN, headers: { 'Retry-After': soon } } as Fault)).toBeGreaterThan(990);
});

test('openS3 does not wait longer than its longest pause, whatever Retry-After says', async () => {
  const { fake, bucket } = await fakeBucket({}, { longestPauseMs: 20 });
  fake.failNext({ ...SLOW_DOWN, headers: { 'Retry-After': '99999' } } as Fault);
  await bucket.put('a', Buffer.from('x'));
  expect(fake.requests).toHaveLength(2);
});

test('openS3 doubles its pauses, and leaves half of each to chance', async () => {
  const { fake, bucket } = await fakeBucket({}, { firstPauseMs: 40, longestPauseMs: 160 });
  const times: number[] = [];
  fake.faultOf = () => {
    times.push(performance.now());
    return SLOW_DOWN;
  };
  await expect(bucket.get('a')).rejects.toThrow();
  const pauses = times.slice(1).map((time, i) => time - times[i]!);
  for (const [i, least] of [20, 40, 80, 80, 80].entries()) expect(pauses[i]).toBeGreaterThan(least - 2);
});

test('openS3 sends as many requests at once as it may, and no more', async () => {
  const { fake, bucket } = await fakeBucket({}, {}, { simultaneous: 3 });
  fake.put('p/a', Buffer.alloc(10));
  let most = 0;
  let now = 0;
  const counted = async () => {
    await bucket.get('a');
    now--;
  };
  let waiting: (() => void)[] = [];
  fake.faultOf = async () => {
    most = Math.max(most, ++now);
    await new Promise<void>((resolve) => {
      waiting.push(resolve);
      if (waiting.length < 3) return;
      for (const goOn of waiting) goOn();
      waiting = [];
    });
    return undefined;
  };
  await Promise.all(Array.from({ length: 7 * 3 }, counted));
  expect(most).toBe(3);
});

test('openS3 uses connections again', async () => {
  const { fake, bucket } = await fakeBucket();
  const ports = new Set<unknown>();
  fake.put('p/a', Buffer.alloc(10));
  fake.onConnection = (port) => ports.add(port);
  for (let i = 0; i < 10; i++) await bucket.get('a');
  expect(ports.size).toBe(1);
});

test('openS3 ends at once when the signal says so, and sends nothing more', async () => {
  const stop = new AbortController();
  const { fake, bucket } = await fakeBucket({}, {}, { signal: stop.signal });
  fake.faultOf = () => {
    setTimeout(() => stop.abort(), 20);
    return { kind: 'stall' };
  };
  await expect(bucket.put('a', Buffer.from('x'))).rejects.toMatchObject({ code: 'INTERRUPTED' });
  await expect(bucket.get('a')).rejects.toMatchObject({ code: 'INTERRUPTED' });
  expect(fake.requests).toHaveLength(1);
});

test('openS3 ends a pause when the signal says so', async () => {
  const stop = new AbortController();
  const { fake, bucket } = await fakeBucket(
    {},
    { firstPauseMs: 3e6, longestPauseMs: 3e6 },
    { signal: stop.signal },
  );
  fake.faultOf = () => {
    setTimeout(() => stop.abort(), 20);
    return SLOW_DOWN;
  };
  await expect(bucket.put('a', Buffer.from('x'))).rejects.toMatchObject({ code: 'INTERRUPTED' });
});
