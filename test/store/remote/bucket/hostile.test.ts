import { describe, expect, test } from 'vitest';
import { STATES } from '../../../../remote/index.ts';
import { packStore } from '../../../../store/index.ts';
import { MemoryBucket } from '../../../remote/memory-bucket.ts';
import { diskOf } from '../../disks.ts';
import { gitFsck } from '../../git.ts';
import { commitBytes, listFiles, newStore, type TestStore } from '../../new-store.ts';
import { fetchAll, ownRefs, pushAll, withWay } from './ways.ts';

function numbers(count: number, first = 1): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}

/** A bucket with two packs of clusters and two of maps, and the store that they are of. */
async function pushed(): Promise<{ readonly from: TestStore; readonly bucket: MemoryBucket }> {
  const from = await newStore();
  const bucket = new MemoryBucket();
  await commitBytes(from, 'web', diskOf(numbers(40)));
  await packStore(from.store);
  await pushAll(from, bucket);
  await commitBytes(from, 'web', diskOf([...numbers(35), ...numbers(30, 500)]));
  await pushAll(from, bucket);
  expect(namesBelow(bucket, 'packs/')).toHaveLength(8);
  return { from, bucket };
}

const namesBelow = ({ objects }: MemoryBucket, prefix: string) =>
  [...objects.keys()].filter((name) => name.startsWith(prefix)).sort();

const bytesOf = (bucket: MemoryBucket, name: string) => bucket.objects.get(name)!.bytes;

function put(bucket: MemoryBucket, name: string, bytes: Uint8Array): void {
  bucket.objects.set(name, { bytes, modified: new Date() });
}

function flipped(bytes: Uint8Array, share: number): Uint8Array {
  const copy = Uint8Array.from(bytes);
  copy[Math.floor((bytes.length - 1) * share)]! ^= 1 << Math.floor(share * 7.9);
  return copy;
}

/** Fails unless a fetch into a new store, which has kept nothing of an earlier one, is refused in one line and leaves it as it was. */
async function expectRefused(bucket: MemoryBucket, what: string): Promise<void> {
  const to = await newStore();
  const files = listFiles(to.path);
  const refs = await ownRefs(to);
  const error = await fetchAll(to, bucket).catch((thrown: unknown) => thrown);
  expect(error, what).toMatchObject({
    code: expect.stringMatching(/^(DAMAGED|UNSUPPORTED|NOT_FOUND|REMOTE_FAILED)$/),
  });
  expect((error as Error).message, what).toMatch(/s3:\/\/memory[^\n]*$/);
  expect(listFiles(to.path), what).toEqual(files);
  expect(await ownRefs(to), what).toEqual(refs);
}

describe('a fetch refuses, and takes nothing over', () => {
  test('packs and indexes of which a bit is wrong, that are cut, empty or longer', async () => {
    const { from, bucket } = await pushed();
    const to = await newStore();
    for (const name of namesBelow(bucket, 'packs/')) {
      const whole = bytesOf(bucket, name);
      const wrong = [
        ...[0, 0.02, 0.5, 0.97, 1].map((share) => flipped(whole, share)),
        whole.subarray(0, whole.length >> 1),
        new Uint8Array(),
        Buffer.concat([whole, Buffer.from('x')]),
      ];
      for (const [i, bytes] of wrong.entries()) {
        put(bucket, name, bytes);
        await expectRefused(bucket, `${name} ${i}`);
      }
      put(bucket, name, whole);
    }
    await fetchAll(to, bucket);
    expect(await ownRefs(to)).toEqual(await ownRefs(from));
    await gitFsck(to.path);
  });

  test('objects that are gone or swapped for each other', async () => {
    const { bucket } = await pushed();
    const names = namesBelow(bucket, 'packs/');
    for (const name of names) {
      const whole = bytesOf(bucket, name);
      bucket.objects.delete(name);
      await expectRefused(bucket, `${name} is gone`);
      for (const other of names.filter((each) => each !== name).slice(0, 4)) {
        put(bucket, name, bytesOf(bucket, other));
        await expectRefused(bucket, `${name} is ${other}`);
      }
      put(bucket, name, whole);
    }
    // A pair that fits itself, under another's name.
    const packs = names.filter((name) => name.endsWith('.pack'));
    for (const ending of ['.pack', '.idx']) {
      const [a, b] = packs.map((name) => name.replace('.pack', ending));
      const bytes = bytesOf(bucket, a!);
      put(bucket, a!, bytesOf(bucket, b!));
      put(bucket, b!, bytes);
    }
    await expectRefused(bucket, 'a pair is swapped');
  });

  test('a state that is damaged, that is another or an older one', async () => {
    const { bucket } = await pushed();
    const [newest, older] = namesBelow(bucket, STATES);
    const whole = bytesOf(bucket, newest!);
    for (const share of [0, 0.3, 0.9]) {
      const text = Buffer.from(whole).toString();
      put(bucket, newest!, Buffer.from(text.slice(0, text.length * share)));
      await expectRefused(bucket, `cut at ${share}`);
    }
    put(bucket, newest!, bytesOf(bucket, older!));
    await expectRefused(bucket, 'an older one');
    put(bucket, newest!, whole);
    bucket.objects.delete('imgstore.json');
    await expectRefused(bucket, 'imgstore.json is gone');
  });

  test('a ref that leads to what is not in the bucket', async () => {
    const { bucket } = await pushed();
    const [newest] = namesBelow(bucket, STATES);
    const state = JSON.parse(Buffer.from(bytesOf(bucket, newest!)).toString());
    state.changes.at(-1).refs['refs/heads/evil'] = 'f'.repeat(64);
    put(bucket, newest!, Buffer.from(JSON.stringify(state)));
    await expectRefused(bucket, 'a ref to nothing');
  });

  test('a list without a pack of clusters or of maps', async () => {
    const { bucket } = await pushed();
    const [newest] = namesBelow(bucket, STATES);
    const whole = Buffer.from(bytesOf(bucket, newest!)).toString();
    const packs = JSON.parse(whole).changes.flatMap(({ added }: { added: { pack: string }[] }) => added);
    expect(packs).toHaveLength(4);
    for (const { pack } of packs) {
      const state = JSON.parse(whole);
      for (const change of state.changes)
        change.added = change.added.filter((row: { pack: string }) => row.pack !== pack);
      put(bucket, newest!, Buffer.from(JSON.stringify(state)));
      await expectRefused(bucket, `without ${pack}`);
    }
  });
});

describe('a part of a pack', () => {
  test('is refused when an entry of it is damaged or it is cut, and damage elsewhere is none of it', async () => {
    const from = await newStore();
    const LARGE = 400;
    await commitBytes(from, 'small', diskOf(numbers(4, LARGE - 3)));
    await commitBytes(from, 'web', diskOf(numbers(LARGE)));
    await packStore(from.store);
    const bucket = new MemoryBucket();
    await pushAll(from, bucket);
    const id = (await ownRefs(from)).get('refs/heads/small')!;
    const name = namesBelow(bucket, 'packs/')
      .filter((each) => each.endsWith('.pack'))
      .reduce((a, b) => (bytesOf(bucket, a).length > bytesOf(bucket, b).length ? a : b));
    const whole = bytesOf(bucket, name);
    let refused = 0;
    const SHARES = 24;
    for (let i = 0; i <= SHARES; i++) {
      const to = await newStore();
      put(bucket, name, i === SHARES ? whole.subarray(0, 1000) : flipped(whole, (i + 0.5) / SHARES));
      const before = listFiles(to.path);
      const error = await withWay(to, bucket, (way) => way.fetch([id])).catch((thrown: unknown) => thrown);
      if (error instanceof Error) {
        refused++;
        expect(error).toMatchObject({ code: 'DAMAGED' });
        expect(error.message).toContain(`s3://memory: ${name}`);
        expect(listFiles(to.path)).toEqual(before);
      } else expect(to.store.objects.has(id) || to.store.objects.packs.refresh()).toBe(true);
    }
    expect(refused).toBeGreaterThan(0);
    expect(refused).toBeLessThan(SHARES);
  });
});

test('a fetch of nothing from an empty bucket brings nothing', async () => {
  const to = await newStore();
  expect(await fetchAll(to, new MemoryBucket())).toMatchObject({ objects: 0 });
});

test('a fetch that finds the end of a pack missing goes on when it is there again', async () => {
  const { from, bucket } = await pushed();
  const to = await newStore();
  const [name] = namesBelow(bucket, 'packs/').filter((each) => each.endsWith('.pack'));
  const whole = bytesOf(bucket, name!);
  bucket.read = async function* (asked, offset) {
    const bytes = bytesOf(bucket, asked).subarray(offset ?? 0);
    yield bytes.subarray(0, bytes.length >> 1);
    if (asked === name) throw new Error('gone');
    yield bytes.subarray(bytes.length >> 1);
  };
  await expect(fetchAll(to, bucket)).rejects.toThrow();
  bucket.read = (asked, offset) => MemoryBucket.prototype.read.call(bucket, asked, offset);
  put(bucket, name!, whole.subarray(0, whole.length - 40));
  await expect(fetchAll(to, bucket)).rejects.toThrow(`s3://memory: ${name}: is damaged on the server`);
  put(bucket, name!, whole);
  await fetchAll(to, bucket);
  expect(await ownRefs(to)).toEqual(await ownRefs(from));
  await gitFsck(to.path);
});
