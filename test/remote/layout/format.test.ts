import { expect, test } from 'vitest';
import { beginRemote, checkPlace, checkRemote } from '../../../remote/index.ts';
import { FaultyBucket } from '../faulty-bucket.ts';
import { MemoryBucket } from '../memory-bucket.ts';

function bucketWith(objects: Readonly<Record<string, string>>): MemoryBucket {
  const bucket = new MemoryBucket();
  for (const [name, text] of Object.entries(objects))
    bucket.objects.set(name, { bytes: Buffer.from(text), modified: new Date() });
  return bucket;
}

test('beginRemote makes a remote of an empty place, and finds it when it comes again', async () => {
  const bucket = new MemoryBucket();
  expect(await checkRemote(bucket)).toBe(false);
  await beginRemote(bucket);
  expect(await checkRemote(bucket)).toBe(true);
  const { modified } = bucket.objects.get('imgstore.json')!;
  await beginRemote(bucket);
  expect(bucket.objects.get('imgstore.json')!.modified).toBe(modified);
  expect(Buffer.from(bucket.objects.get('imgstore.json')!.bytes).toString()).toBe(
    '{"format":"imgstore","version":1}\n',
  );
});

test('beginRemote is done by all who begin at once', async () => {
  const bucket = new MemoryBucket();
  await Promise.all(Array.from({ length: 8 }, () => beginRemote(bucket)));
  expect([...bucket.objects.keys()]).toEqual(['imgstore.json']);
});

test('beginRemote looks past traces of a probe and the secret of names', async () => {
  const bucket = bucketWith({ 'probe/1': 'x', 'keys/names': 'x' });
  await beginRemote(bucket);
  expect(await checkRemote(bucket)).toBe(true);
});

test('beginRemote refuses a place in which other things are', async () => {
  const bucket = bucketWith({ 'probe/1': 'x', 'holiday.jpg': 'x' });
  await expect(beginRemote(bucket)).rejects.toMatchObject({
    code: 'REMOTE_FAILED',
    message: expect.stringContaining('is not empty (holiday.jpg)'),
  });
  expect(bucket.objects.size).toBe(2);
});

test('beginRemote takes a place for a remote that another begins between its two looks', async () => {
  const bucket = new FaultyBucket(new MemoryBucket());
  bucket.onRequest = async ({ method }) => {
    bucket.onRequest = () => {};
    if (method === 'get') bucket.onRequest = () => pushOfAnother();
  };
  const pushOfAnother = async () => {
    bucket.onRequest = () => {};
    await beginRemote(bucket);
    await bucket.put('packs/1', Buffer.from('a pack'));
  };
  await beginRemote(bucket);
  expect(await checkRemote(bucket)).toBe(true);
});

test('checkPlace makes nothing of an empty place, and refuses one in which other things are', async () => {
  const empty = new MemoryBucket();
  expect(await checkPlace(empty)).toBe(false);
  expect(empty.objects.size).toBe(0);
  await expect(checkPlace(bucketWith({ config: 'of restic' }))).rejects.toMatchObject({
    code: 'REMOTE_FAILED',
    message: 's3://memory: is not empty (config) and no remote of imgstore: choose another prefix',
  });
});

test('beginRemote refuses a remote whose imgstore.json is gone', async () => {
  const bucket = bucketWith({ 'states/999999999999998': '{"number":1,"changes":[]}' });
  await expect(beginRemote(bucket)).rejects.toMatchObject({ code: 'REMOTE_FAILED' });
});

test.each([
  ['REMOTE_FAILED', 'is no remote of imgstore', ''],
  ['REMOTE_FAILED', 'is no remote of imgstore', '[]'],
  ['REMOTE_FAILED', 'is no remote of imgstore', 'null'],
  ['REMOTE_FAILED', 'is no remote of imgstore', '{"format":"restic"}'],
  ['REMOTE_FAILED', 'is no remote of imgstore', '{"format":"imgstore","vers'],
  ['UNSUPPORTED', 'has format 2', '{"format":"imgstore","version":2}'],
  ['UNSUPPORTED', 'has format undefined', '{"format":"imgstore"}'],
  ['WRONG_KEY', '--identity', 'age-encryption.org/v1\n-> X25519 abc\n'],
])('checkRemote throws %s, "%s", for %j', async (code, message, text) => {
  const error = await checkRemote(bucketWith({ 'imgstore.json': text })).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code, message: expect.stringContaining(message) });
  expect((error as Error).message).not.toContain('\n');
});
