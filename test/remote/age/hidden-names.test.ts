import { createHmac, randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { type Bucket, encryptedBucket } from '../../../remote/index.ts';
import { age, keyFile, keysOf, newKeyPair } from './age-tool.ts';
import { PlainBucket } from './plain-bucket.ts';

const HASH = 'ab'.repeat(32);
const PACK = `packs/${HASH}.pack`;
const INDEX = `packs/${HASH}.idx`;

async function names(bucket: Bucket, prefix = ''): Promise<string[]> {
  const found: string[] = [];
  for await (const { name } of bucket.list(prefix)) found.push(name);
  return found;
}

async function writtenBucket() {
  const plain = new PlainBucket();
  const keys = await keysOf([newKeyPair()]);
  const bucket = await encryptedBucket(plain, keys);
  for (const name of ['imgstore.json', 'states/9', 'checkpoints/7', PACK, INDEX]) {
    await bucket.put(name, Buffer.from(name));
  }
  return { plain, keys, bucket };
}

test('put hides names below packs/ and checkpoints/, and keeps endings and all other names', async () => {
  const { plain } = await writtenBucket();
  const [checkpoint, settings, secret, ...rest] = [...plain.objects.keys()].sort();
  expect(checkpoint).toMatch(/^checkpoints\/h[0-9a-f]{64}$/);
  expect([settings, secret]).toEqual(['imgstore.json', 'keys/names.age']);
  expect(rest.map((name) => name.replace(/h[0-9a-f]{64}/, 'h…')).sort()).toEqual([
    'packs/h….idx',
    'packs/h….pack',
    'states/9',
  ]);
  expect(rest.join()).not.toContain('abab');
});

test('every method takes the name of an object and the one that it has in the bucket', async () => {
  const { bucket, plain, keys } = await writtenBucket();
  const other = await encryptedBucket(plain, keys);
  const stored = other.stored!(PACK);
  expect(other.stored!(stored)).toBe(stored);
  expect(bucket.stored!(PACK)).toBe(stored);
  for (const name of [PACK, stored]) {
    expect(Buffer.from(await other.get(name)).toString()).toBe(PACK);
    expect(await other.stat(name)).toMatchObject({ name, size: PACK.length });
    expect(await other.putNew(name, randomBytes(3))).toBe(false);
  }
  await other.remove([stored]);
  expect(await other.stat(PACK)).toBeUndefined();
  await other.remove([INDEX]);
  expect(await names(bucket, 'packs/')).toEqual([]);
});

test('list gives what is in the bucket, to be compared with the stored names of packs that are known', async () => {
  const { bucket } = await writtenBucket();
  const known = new Set([PACK, INDEX].map((name) => bucket.stored!(name)));
  expect(new Set(await names(bucket, 'packs/'))).toEqual(known);
  expect(() => bucket.list('packs/ab')).toThrow(/hidden names cannot be listed/);
  expect(await names(bucket, 'states/')).toEqual(['states/9']);
  expect(await names(bucket)).toHaveLength(6);
});

test('stored gives the HMAC of a name by the secret that age decrypts', async () => {
  const plain = new PlainBucket();
  const pair = newKeyPair();
  const bucket = await encryptedBucket(plain, await keysOf([pair]));
  await bucket.put(PACK, randomBytes(1));
  const identity = await keyFile('key.txt', pair.secret);
  const secret = age('age', ['-d', '-i', identity], plain.objects.get('keys/names.age'));
  const digits = createHmac('sha256', secret).update(PACK).digest('hex');
  expect(bucket.stored!(PACK)).toBe(`packs/h${digits}.pack`);
});

test('names that were hidden in another bucket have other forms', async () => {
  const [one, other] = [await writtenBucket(), await writtenBucket()];
  expect(one.bucket.stored!(PACK)).not.toBe(other.bucket.stored!(PACK));
});

test('reading makes no secret, and finds nothing hidden where nobody has written', async () => {
  const plain = new PlainBucket();
  const bucket = await encryptedBucket(plain, await keysOf([newKeyPair()]));
  await expect(bucket.get(PACK)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(bucket.get('imgstore.json')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  expect(await bucket.stat(PACK)).toBeUndefined();
  expect(() => bucket.stored!(PACK)).toThrow(/keys\/names\.age is not there/);
  expect(bucket.stored!('states/1')).toBe('states/1');
  await bucket.remove([PACK]);
  expect(plain.objects.size).toBe(0);
});

test('of many who write first at once all come to one secret', async () => {
  const plain = new PlainBucket();
  const keys = await keysOf([newKeyPair()]);
  const buckets = await Promise.all(Array.from({ length: 8 }, () => encryptedBucket(plain, keys)));
  await Promise.all(
    buckets.flatMap((bucket, i) => [
      bucket.put(`packs/${i}.pack`, randomBytes(1)),
      bucket.put(PACK, randomBytes(1)),
    ]),
  );
  expect(new Set(buckets.map((bucket) => bucket.stored!(PACK))).size).toBe(1);
  expect((await names(buckets[0]!, 'packs/')).length).toBe(9);
});

test('a reader who opened a bucket before anybody wrote finds what was written since', async () => {
  const plain = new PlainBucket();
  const keys = await keysOf([newKeyPair()]);
  const [reader, writer] = [await encryptedBucket(plain, keys), await encryptedBucket(plain, keys)];
  await writer.put(PACK, Buffer.from('text'));
  expect(Buffer.from(await reader.get(PACK)).toString()).toBe('text');
});

test('a writer who finds the first writer between its key and its packs takes that key', async () => {
  const plain = new PlainBucket();
  const keys = await keysOf([newKeyPair()]);
  const [late, first] = [await encryptedBucket(plain, keys), await encryptedBucket(plain, keys)];
  const list = plain.list.bind(plain);
  plain.list = async function* (prefix, most) {
    plain.list = list;
    await first.put(PACK, randomBytes(1));
    yield* list(prefix, most);
  };
  await late.put(INDEX, randomBytes(1));
  expect(late.stored!(PACK)).toBe(first.stored!(PACK));
});

test.each(['states/9', PACK])(
  'nobody makes another secret in a bucket that has %s and whose secret is gone',
  async (kept) => {
    const { plain, keys, bucket } = await writtenBucket();
    const stored = bucket.stored!(kept);
    for (const name of plain.objects.keys()) if (name !== stored) plain.objects.delete(name);
    const other = await encryptedBucket(plain, keys);
    await expect(other.put('states/1', randomBytes(1))).rejects.toMatchObject({ code: 'DAMAGED' });
    await expect(other.putNew('states/1', randomBytes(1))).rejects.toThrow(/keys\/names\.age is not there/);
    expect([...plain.objects.keys()]).toEqual([stored]);
  },
);

test('encryptedBucket refuses a secret for others, one that is not encrypted, and one of another length', async () => {
  const { plain } = await writtenBucket();
  const others = await keysOf([newKeyPair()]);
  await expect(encryptedBucket(plain, others)).rejects.toMatchObject({
    code: 'WRONG_KEY',
    message: expect.stringMatching(/^s3:\/\/bucket\/prefix: keys\/names\.age: .*key\.txt/),
  });
  plain.objects.set('keys/names.age', randomBytes(32));
  await expect(encryptedBucket(plain, others)).rejects.toMatchObject({ code: 'REMOTE_FAILED' });
  const short = new PlainBucket();
  await (await encryptedBucket(short, others)).put('keys/names.age', randomBytes(31));
  await expect(encryptedBucket(short, others)).rejects.toMatchObject({ code: 'DAMAGED' });
});

test('traffic and where are those of the bucket', async () => {
  const { plain, bucket } = await writtenBucket();
  expect(bucket.where).toBe(plain.where);
  expect(bucket.traffic).toEqual(plain.traffic);
});
