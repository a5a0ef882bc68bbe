import { createCipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { isImgstoreError } from '../../../errors/index.ts';
import { type AgeKeys, type Bucket, encryptedBucket, isEncrypted, openKeys } from '../../../remote/index.ts';
import { age, keyFile, newKeyPair } from './age-tool.ts';
import { collect, PlainBucket } from './plain-bucket.ts';

const CHUNK = 65536;
const STORED = CHUNK + 16;
const NAME = 'states/1';

const pair = newKeyPair();
let keys: AgeKeys;
beforeAll(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'imgstore-test-'));
  await writeFile(join(folder, 'key.txt'), pair.secret, { mode: 0o600 });
  keys = await openKeys({ identityFile: join(folder, 'key.txt') });
  return () => rm(folder, { recursive: true });
});

/** An object with `bytes` in it as it lies in the bucket, and where its chunks begin. */
async function sealed(bytes: Uint8Array): Promise<{ stored: Buffer; chunksAt: number }> {
  const plain = new PlainBucket();
  await (await encryptedBucket(plain, keys)).put(NAME, bytes);
  const stored = plain.objects.get(NAME)!;
  const chunks = Math.max(1, Math.ceil(bytes.length / CHUNK));
  return { stored, chunksAt: stored.length - bytes.length - 16 * chunks };
}

async function bucketOf(stored: Buffer): Promise<Bucket> {
  const plain = new PlainBucket();
  plain.objects.set(NAME, stored);
  return encryptedBucket(plain, keys);
}

/** Every way to read all or a part of an object; none may give anything but a part of `bytes` at its place. */
const READS: Readonly<Record<string, (bucket: Bucket, bytes: Buffer) => Promise<boolean>>> = {
  get: async (bucket, bytes) => bytes.equals(await bucket.get(NAME)),
  read: async (bucket, bytes) => bytes.equals(await collect(bucket.read(NAME))),
  'get of all as a range': async (bucket, bytes) =>
    bytes.equals(await bucket.get(NAME, { offset: 0, length: bytes.length + 1 })),
  'get of the end': async (bucket, bytes) =>
    bytes.subarray(-1).equals(await bucket.get(NAME, { offset: bytes.length - 1, length: 2 })),
  'get behind the end': async (bucket, bytes) =>
    (await bucket.get(NAME, { offset: bytes.length + 2 * CHUNK, length: 1 })).length === 0,
  'read of the end': async (bucket, bytes) =>
    bytes.subarray(-1).equals(await collect(bucket.read(NAME, bytes.length - 1))),
  'read behind the end': async (bucket, bytes) =>
    (await collect(bucket.read(NAME, bytes.length + 2 * CHUNK))).length === 0,
};

async function outcome(read: () => Promise<boolean>): Promise<string> {
  try {
    return (await read()) ? 'right' : 'other bytes';
  } catch (error) {
    if (!isImgstoreError(error)) throw error;
    expect(error.message).toMatch(/^s3:\/\/bucket\/prefix: states\/1: [^\n]+$/);
    expect(error.message).not.toContain(pair.secret);
    return error.code;
  }
}

test('each flipped bit of a small object is refused', async () => {
  const bytes = Buffer.from('a small file');
  const { stored } = await sealed(bytes);
  for (let at = 0; at < stored.length; at++) {
    for (const bit of [0x01, 0x20, 0x80]) {
      const flipped = Buffer.from(stored);
      flipped[at]! ^= bit;
      const bucket = await bucketOf(flipped);
      for (const read of ['get', 'read', 'get of all as a range']) {
        const code = await outcome(() => READS[read]!(bucket, bytes));
        const codes = at < 22 ? ['REMOTE_FAILED'] : ['DAMAGED', 'WRONG_KEY'];
        expect(codes, `byte ${at} ^ ${bit}, ${read}`).toContain(code);
      }
    }
  }
});

describe.each([1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 100])('an object of %d bytes', (size) => {
  const bytes = randomBytes(size);

  test.each(Object.keys(READS))('that is cut between or within chunks is refused by %s', async (read) => {
    const { stored, chunksAt } = await sealed(bytes);
    const cuts = [0, 1, 2, 3]
      .flatMap((i) => [-17, -16, -1, 0, 1, 15, 16, 17, 100].map((by) => chunksAt + i * STORED + by))
      .filter((cut) => cut < stored.length && cut >= chunksAt - 16);
    for (const cut of [0, 21, 100, ...cuts]) {
      const bucket = await bucketOf(stored.subarray(0, cut));
      const got = await outcome(() => READS[read]!(bucket, bytes));
      expect(cut < 22 ? ['REMOTE_FAILED'] : ['DAMAGED'], `cut at ${cut}`).toContain(got);
    }
  });

  test('that has bytes behind its end is refused by get and read of all', async () => {
    const { stored } = await sealed(bytes);
    for (const more of [1, 16, 17, STORED]) {
      const bucket = await bucketOf(Buffer.concat([stored, Buffer.alloc(more)]));
      expect(await outcome(() => READS.get!(bucket, bytes)), `${more}`).toBe('DAMAGED');
      expect(await outcome(() => READS.read!(bucket, bytes)), `${more}`).toBe('DAMAGED');
    }
  });
});

test.each(Object.keys(READS))(
  'chunks that were swapped, repeated or taken from another object are refused by %s',
  async (read) => {
    const bytes = randomBytes(4 * CHUNK);
    const { stored, chunksAt } = await sealed(bytes);
    const other = await sealed(randomBytes(4 * CHUNK));
    const head = stored.subarray(0, chunksAt);
    const chunk = (from: Buffer, i: number) =>
      from.subarray(chunksAt + i * STORED, chunksAt + (i + 1) * STORED);
    const [a, b, c, d] = [0, 1, 2, 3].map((i) => chunk(stored, i)) as [Buffer, Buffer, Buffer, Buffer];
    const orders = {
      swapped: [d, b, c, a],
      repeated: [a, b, c, c],
      doubled: [a, b, c, d, d],
      others: [a, b, c, chunk(other.stored, 3)],
    };
    for (const [how, chunks] of Object.entries(orders)) {
      const bucket = await bucketOf(Buffer.concat([head, ...chunks]));
      const got = await outcome(() => READS[read]!(bucket, bytes));
      // Where the object goes on behind its last chunk, a range within it is what it was.
      const codes =
        how === 'doubled' && read.startsWith('get of the end') ? ['DAMAGED', 'right'] : ['DAMAGED'];
      expect(codes, how).toContain(got);
    }
  },
);

test('an empty last chunk behind others is refused, as it would be another form of the same bytes', async () => {
  const { stored, chunksAt } = await sealed(randomBytes(CHUNK));
  const fileKey = await keys.fileKey(stored.subarray(0, chunksAt - 16));
  const key = Buffer.from(
    hkdfSync('sha256', fileKey!, stored.subarray(chunksAt - 16, chunksAt), 'payload', 32),
  );
  const seal = (nonce: string, bytes: Uint8Array) => {
    const cipher = createCipheriv('chacha20-poly1305', key, Buffer.from(nonce, 'hex'), { authTagLength: 16 });
    return Buffer.concat([cipher.update(bytes), cipher.final(), cipher.getAuthTag()]);
  };
  const forged = [
    stored.subarray(0, chunksAt),
    seal('000000000000000000000000', Buffer.alloc(CHUNK)),
    seal('000000000000000000000101', Buffer.alloc(0)),
  ];
  const bucket = await bucketOf(Buffer.concat(forged));
  expect(await outcome(() => READS.get!(bucket, Buffer.alloc(CHUNK)))).toBe('DAMAGED');
  expect(await outcome(() => READS.read!(bucket, Buffer.alloc(CHUNK)))).toBe('DAMAGED');
});

test('an object that is not encrypted is refused, whatever is read of it', async () => {
  for (const text of ['', '{"format":1}', 'age-encryption.org/v2\n'.repeat(100), 'x'.repeat(70_000)]) {
    for (const [name, read] of Object.entries(READS)) {
      const bucket = await bucketOf(Buffer.from(text));
      expect(await outcome(() => read(bucket, Buffer.from(text))), name).toBe('REMOTE_FAILED');
    }
  }
});

test('a header without an end is refused after a bounded part of the object', async () => {
  const plain = new PlainBucket();
  plain.objects.set(NAME, Buffer.from(`age-encryption.org/v1\n${'-> X a\n'.repeat(200_000)}`));
  const bucket = await encryptedBucket(plain, keys);
  plain.asked.length = 0;
  await expect(bucket.get(NAME, { offset: 9, length: 1 })).rejects.toMatchObject({ code: 'DAMAGED' });
  expect(plain.traffic.receivedBytes).toBeLessThan(200_000);
  await expect(collect(bucket.read(NAME))).rejects.toMatchObject({ code: 'DAMAGED' });
});

test('a header that age would refuse is refused', async () => {
  const { stored } = await sealed(Buffer.from('text'));
  const text = stored.toString('latin1');
  const versions = [
    text.replace('-> X25519 ', '-> X25519  '),
    text.replace('-> X25519', '-> y b\n\n-> X25519'),
    text.replace('-> X25519 ', '-> X25519 AA '),
  ];
  for (const version of versions) {
    const bucket = await bucketOf(Buffer.from(version, 'latin1'));
    expect(await outcome(() => READS.get!(bucket, Buffer.from('text')))).toMatch(/^(DAMAGED|WRONG_KEY)$/);
  }
});

test('an object that is encrypted to others is WRONG_KEY, with the bucket, the object and the identity file', async () => {
  const other = await keyFile('recipients.txt', newKeyPair().recipient);
  const bucket = await bucketOf(age('age', ['-R', other], Buffer.from('text')));
  for (const read of [() => bucket.get(NAME), () => collect(bucket.read(NAME)), () => bucket.stat(NAME)]) {
    await expect(read()).rejects.toMatchObject({
      code: 'WRONG_KEY',
      message: expect.stringMatching(/^s3:\/\/bucket\/prefix: states\/1: .*key\.txt.*[^\n]$/),
    });
  }
});

test('read closes the connection when the head is refused', async () => {
  const plain = new PlainBucket();
  const other = await keyFile('recipients.txt', newKeyPair().recipient);
  plain.objects.set(NAME, age('age', ['-R', other], randomBytes(100_000)));
  const bucket = await encryptedBucket(plain, keys);
  await expect(collect(bucket.read(NAME))).rejects.toMatchObject({ code: 'WRONG_KEY' });
  expect(plain.openReads).toBe(0);
});

test('isEncrypted is true for what age and the bucket write, and for nothing else', async () => {
  const { stored } = await sealed(Buffer.from('text'));
  expect(isEncrypted(stored)).toBe(true);
  expect(isEncrypted(stored.subarray(0, 22))).toBe(true);
  expect(isEncrypted(age('age', ['-r', pair.recipient], Buffer.from('text')))).toBe(true);
  for (const other of ['', '{}', 'age-encryption.org/v1', 'PACK', 'age-encryption.org/v2\n']) {
    expect(isEncrypted(Buffer.from(other)), other).toBe(false);
  }
});
