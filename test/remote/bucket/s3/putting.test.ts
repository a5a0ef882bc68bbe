import { createHash, randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { fakeBucket } from './fake-bucket.ts';

const BYTES = randomBytes(2_000_000);

function source(bytes: Uint8Array, size = bytes.length) {
  const body = {
    size,
    opened: 0,
    async *open() {
      body.opened++;
      for (let at = 0; at < bytes.length; at += 100_000) yield bytes.subarray(at, at + 100_000);
    },
  };
  return body;
}

test('S3Bucket.put opens its source again for each attempt', async () => {
  const { fake, bucket } = await fakeBucket();
  const body = source(BYTES);
  fake.failNext({ kind: 'reset-within' }, { kind: 'status', status: 503 }, { kind: 'reset-within' });
  await bucket.put('a', body);
  expect(body.opened).toBe(4);
  expect(fake.objects.get('p/a')?.bytes.equals(BYTES)).toBe(true);
  expect(bucket.traffic.requests).toBe(4);
});

test('S3Bucket.put says the hash when it is known or can be found, and the length always', async () => {
  const { fake, bucket } = await fakeBucket();
  const sha256 = createHash('sha256').update(BYTES).digest('hex');
  await bucket.put('a', { ...source(BYTES), sha256 });
  await bucket.put('b', source(BYTES));
  await bucket.put('c', BYTES);
  await bucket.put('d', { ...source(BYTES), findSha256: async () => sha256 });
  const told = fake.requests.map(({ headers }) => headers['x-amz-content-sha256']);
  expect(told).toEqual([sha256, 'UNSIGNED-PAYLOAD', sha256, sha256]);
  for (const { headers } of fake.requests) expect(headers['content-length']).toBe(String(BYTES.length));
});

test('S3Bucket.put takes a source of which size and bytes are not its own properties', async () => {
  const { fake, bucket } = await fakeBucket();
  class Source {
    readonly #bytes = BYTES;
    get size() {
      return this.#bytes.length;
    }
    async *open() {
      yield this.#bytes;
    }
  }
  await bucket.put('a', new Source());
  expect(fake.objects.get('p/a')?.bytes.equals(BYTES)).toBe(true);
});

test('S3Bucket.put fails for a source that gives other bytes than its hash says', async () => {
  const { fake, bucket } = await fakeBucket();
  await expect(bucket.put('a', { ...source(BYTES), sha256: '0'.repeat(64) })).rejects.toMatchObject({
    code: 'REMOTE_FAILED',
    message: expect.stringContaining('400 XAmzContentSHA256Mismatch'),
  });
  expect(fake.objects.size).toBe(0);
});

test('S3Bucket.put fails for a source that gives more or less than it said, and puts nothing', async () => {
  const { fake, bucket } = await fakeBucket();
  for (const by of [-1, 1, 100_000, -100_000])
    await expect(bucket.put('a', source(BYTES, BYTES.length + by))).rejects.toThrow(
      `a body of ${BYTES.length + by} bytes was announced`,
    );
  expect(fake.objects.size).toBe(0);
});

test('S3Bucket.put hands on what its source throws, and does not try again', async () => {
  const { fake, bucket } = await fakeBucket();
  const body = {
    size: 10,
    async *open(): AsyncGenerator<Uint8Array> {
      yield Buffer.alloc(5);
      throw new Error('the disk is broken');
    },
  };
  await expect(bucket.put('a', body)).rejects.toThrow('the disk is broken');
  expect(fake.objects.size).toBe(0);
  expect(bucket.traffic.requests).toBe(1);
});

test('S3Bucket.put hears a server that refuses before it has read all', async () => {
  const { fake, bucket } = await fakeBucket();
  fake.faultOf = () => ({ kind: 'refuse-early' });
  await expect(bucket.put('a', source(randomBytes(30 << 20)))).rejects.toMatchObject({
    code: 'REMOTE_DENIED',
    message: expect.stringContaining('403 AccessDenied'),
  });
});

test('S3Bucket.put does not believe a server that says yes before it has read all', async () => {
  const { fake, bucket } = await fakeBucket();
  const bytes = randomBytes(30 << 20);
  fake.failNext({ kind: 'accept-early' });
  await bucket.put('a', source(bytes));
  expect(fake.objects.get('p/a')?.bytes.equals(bytes)).toBe(true);
  fake.faultOf = () => ({ kind: 'accept-early' });
  await expect(bucket.put('b', source(bytes))).rejects.toMatchObject({ code: 'REMOTE_FAILED' });
});

test('S3Bucket.putNew knows its own object when the answer to putting it was lost', async () => {
  const { fake, bucket } = await fakeBucket();
  for (const fault of [{ kind: 'reset-after' }, { kind: 'status-after', status: 500 }] as const) {
    fake.objects.clear();
    fake.failNext(fault);
    expect(await bucket.putNew('a', Buffer.from('mine'))).toBe(true);
    expect(fake.requests.map(({ method }) => method)).toEqual(['PUT', 'PUT', 'GET']);
  }
});

test("S3Bucket.putNew knows somebody else's object when the answer to putting its own was lost", async () => {
  const { fake, bucket } = await fakeBucket();
  for (const other of ['another', 'mine and more', 'min', '']) {
    fake.put('p/a', Buffer.from(other));
    fake.failNext({ kind: 'reset-before' });
    expect(await bucket.putNew('a', Buffer.from('mine'))).toBe(false);
    expect(fake.requests.map(({ method }) => method)).toEqual(['PUT', 'PUT', 'GET']);
  }
});

test('S3Bucket.putNew does not look at what is in the way when its first request was refused', async () => {
  const { fake, bucket } = await fakeBucket();
  fake.put('p/a', Buffer.from('mine'));
  fake.forget();
  expect(await bucket.putNew('a', Buffer.from('mine'))).toBe(false);
  expect(fake.requests).toHaveLength(1);
});

test('S3Bucket.putNew puts again when what was in the way is gone', async () => {
  const { fake, bucket } = await fakeBucket();
  fake.put('p/a', Buffer.from('another'));
  fake.faultOf = ({ number }) => {
    if (number === 3) fake.objects.clear();
    return number === 1 ? { kind: 'reset-before' } : undefined;
  };
  expect(await bucket.putNew('a', Buffer.from('mine'))).toBe(true);
  expect(fake.objects.get('p/a')?.bytes.toString()).toBe('mine');
});

test('S3Bucket.putNew repeats a request that another one came between, which had no effect', async () => {
  const { fake, bucket } = await fakeBucket();
  const conflict = { kind: 'status', status: 409, code: 'ConditionalRequestConflict' } as const;
  fake.failNext(conflict, conflict);
  expect(await bucket.putNew('a', Buffer.from('mine'))).toBe(true);
  fake.put('p/b', Buffer.from('mine'));
  fake.failNext(conflict);
  expect(await bucket.putNew('b', Buffer.from('mine'))).toBe(false);
  expect(fake.requests.map(({ method }) => method)).toEqual(['PUT', 'PUT']);
});

test('S3Bucket.putNew fails where the server does not know conditions', async () => {
  const { bucket } = await fakeBucket({ conditional: 'refused' });
  await expect(bucket.putNew('a', Buffer.from('x'))).rejects.toMatchObject({
    code: 'REMOTE_FAILED',
    data: { status: 501 },
  });
});
