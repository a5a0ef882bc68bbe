import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { type BucketBody, encryptedBucket, openKeys, type RepeatableBody } from '../../../remote/index.ts';
import { age, type KeyPair, keyFile, keysOf, newKeyPair } from './age-tool.ts';
import { bytesOfBody, collect, PlainBucket } from './plain-bucket.ts';

const SIZES = [0, 1, 65535, 65536, 65537, 2 * 65536];
const NAME = 'states/1';

/** A body that comes in pieces of `piece` bytes. */
function streamed(bytes: Uint8Array, piece: number): BucketBody {
  return {
    size: bytes.length,
    sha256: '0'.repeat(64),
    async *open() {
      for (let at = 0; at < bytes.length; at += piece) yield bytes.subarray(at, at + piece);
    },
  };
}

async function secretFile({ secret }: KeyPair): Promise<string> {
  return keyFile('key.txt', secret);
}

test.each(SIZES)('age decrypts by each recipient what put and putNew have put of %d bytes', async (size) => {
  const plain = new PlainBucket();
  const pairs = [newKeyPair(), newKeyPair(), newKeyPair()];
  const bucket = await encryptedBucket(plain, await keysOf([pairs[0]!], pairs));
  const bytes = randomBytes(size);
  await bucket.put('states/1', bytes);
  await bucket.put('states/2', streamed(bytes, 1000));
  await bucket.put('states/3', streamed(bytes, 65536));
  expect(await bucket.putNew('states/4', bytes)).toBe(true);
  expect(await bucket.putNew('states/4', bytes)).toBe(false);
  for (const pair of pairs) {
    const file = await secretFile(pair);
    for (const name of ['states/1', 'states/2', 'states/3', 'states/4']) {
      expect(bytes.equals(age('age', ['-d', '-i', file], plain.objects.get(name)))).toBe(true);
    }
  }
});

test.each(SIZES)('get and read decrypt what age has encrypted of %d bytes', async (size) => {
  const [mine, other] = [newKeyPair(), newKeyPair()];
  const recipients = await keyFile('recipients.txt', '# both', other.recipient, '', mine.recipient);
  const bytes = randomBytes(size);
  const plain = new PlainBucket();
  plain.objects.set(NAME, age('age', ['-R', recipients], bytes));
  const bucket = await encryptedBucket(plain, await keysOf([newKeyPair(), mine]));
  expect(bytes.equals(await bucket.get(NAME))).toBe(true);
  expect(bytes.equals(await collect(bucket.read(NAME)))).toBe(true);
  expect((await bucket.stat(NAME))?.size).toBe(size);
});

test('get decrypts a file that age has encrypted to recipients of other kinds as well', async () => {
  const mine = newKeyPair();
  const ssh = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN';
  const recipients = await keyFile('recipients.txt', ssh, mine.recipient);
  const plain = new PlainBucket();
  plain.objects.set(NAME, age('age', ['-R', recipients], Buffer.from('text')));
  const bucket = await encryptedBucket(plain, await keysOf([mine]));
  expect(Buffer.from(await bucket.get(NAME)).toString()).toBe('text');
});

test('the secret of the names is an age file of 32 bytes', async () => {
  const plain = new PlainBucket();
  const pair = newKeyPair();
  await (await encryptedBucket(plain, await keysOf([pair]))).put(NAME, randomBytes(1));
  const secret = age('age', ['-d', '-i', await secretFile(pair)], plain.objects.get('keys/names.age'));
  expect(secret).toHaveLength(32);
});

test('openKeys without a file of recipients encrypts to those of the identities', async () => {
  const pair = newKeyPair();
  const plain = new PlainBucket();
  const keys = await openKeys({ identityFile: await secretFile(pair) });
  await (await encryptedBucket(plain, keys)).put(NAME, Buffer.from('text'));
  expect(age('age', ['-d', '-i', await secretFile(pair)], plain.objects.get(NAME)).toString()).toBe('text');
});

test('put tells the size beforehand, and no hash of the plaintext', async () => {
  let body: BucketBody | undefined;
  const plain = new PlainBucket();
  plain.put = async (_, given) => {
    body = given;
  };
  await (await encryptedBucket(plain, await keysOf([newKeyPair()]))).put(
    NAME,
    streamed(randomBytes(70_000), 7),
  );
  expect(body).not.toHaveProperty('sha256');
  expect(await bytesOfBody(body!)).toHaveLength((body as { size: number }).size);
});

test('each attempt to put has another key, so that bytes that changed between them do not give each other away', async () => {
  const plain = new PlainBucket();
  const attempts: Buffer[] = [];
  plain.put = async (name, body) => {
    attempts.push(await bytesOfBody(body), await bytesOfBody(body));
    plain.objects.set(name, attempts[1]!);
  };
  const bucket = await encryptedBucket(plain, await keysOf([newKeyPair()]));
  const bytes = randomBytes(100);
  await bucket.put(NAME, streamed(bytes, 10));
  const [first, second] = attempts.map((attempt) => attempt.subarray(-116)) as [Buffer, Buffer];
  expect(attempts[0]).toHaveLength(attempts[1]!.length);
  expect(first.equals(second)).toBe(false);
  expect(bytes.equals(await bucket.get(NAME))).toBe(true);
});

test.each([
  ['fewer', 70_000, 69_999],
  ['more', 70_000, 70_001],
  ['a chunk more', 65536, 131072],
  ['a chunk fewer', 131072, 65536],
])('put refuses a body that gives %s bytes than it said', async (_, size, given) => {
  const body: BucketBody = { ...(streamed(randomBytes(given), 999) as RepeatableBody), size };
  const plain = new PlainBucket();
  let [said, sent] = [0, 0];
  plain.put = async (_, stream) => {
    said = (stream as RepeatableBody).size;
    for await (const part of (stream as RepeatableBody).open()) sent += part.length;
  };
  const bucket = await encryptedBucket(plain, await keysOf([newKeyPair()]));
  await expect(bucket.put(NAME, body)).rejects.toMatchObject({ code: 'IN_USE' });
  expect(said).toBeGreaterThan(size);
  expect(sent).toBeLessThanOrEqual(said);
});
