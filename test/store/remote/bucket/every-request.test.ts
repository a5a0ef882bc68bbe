import { writeFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { packStore } from '../../../../store/index.ts';
import { type BucketFault, type BucketRequest, FaultyBucket } from '../../../remote/faulty-bucket.ts';
import { MemoryBucket } from '../../../remote/memory-bucket.ts';
import { diskOf } from '../../disks.ts';
import { git, gitFsck, gitObjects } from '../../git.ts';
import { commitBytes, listFiles, newStore, type TestStore } from '../../new-store.ts';
import { readBack } from '../../read-back.ts';
import { expectWhole, fetchAll, ownRefs, pushAll } from './ways.ts';

/** More than the journal notes: 1 MiB. */
const LARGE = 270;
const MIB = 2 ** 20;

function numbers(count: number, first = 1): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}

/** Two branches, a tag that is an object, versions of which one changes a little, and an attachment. */
async function filled(isPacked: boolean): Promise<TestStore> {
  const place = await newStore();
  await writeFile(place.file('notes'), 'what it is for\n');
  await commitBytes(place, 'web', diskOf(numbers(LARGE)));
  await commitBytes(place, 'web', diskOf([7777, ...numbers(LARGE).slice(1)]), {
    attachments: [{ name: 'notes', path: place.file('notes') }],
  });
  await commitBytes(place, 'db', diskOf([...numbers(30), ...numbers(20, 2000)]));
  await git(place.path, 'tag', '-a', '-m', 'the first', 'v1', 'web~1');
  if (isPacked) await packStore(place.store);
  return place;
}

/** Faults at each request, before its effect and, where it has one, after it, by turns once and for good. */
function* faults(requests: readonly BucketRequest[]): Generator<BucketFault> {
  for (const { number: at, method } of requests)
    for (const after of method === 'put' || method === 'putNew' ? [false, true] : [false])
      yield { at, after, lasting: (at + Number(after)) % 2 === 0 };
}

describe.each([
  ['loose', false],
  ['packed', true],
])('a %s store', (_, isPacked) => {
  test('push goes on from wherever it was broken off, and sends nothing large twice', async () => {
    const from = await filled(isPacked);
    const counting = new FaultyBucket(new MemoryBucket());
    await pushAll(from, counting);
    expect(counting.requests.length).toBeGreaterThan(5);
    const judged = new Set<string>();
    for (const fault of faults(counting.requests)) {
      const bucket = new MemoryBucket();
      const first = new FaultyBucket(bucket, fault);
      const outcome = await pushAll(from, first).catch((error: unknown) => error);
      expect(first.isBroken).toBe(true);
      if (outcome instanceof Error) expect(outcome).toMatchObject({ code: 'REMOTE_UNREACHABLE' });
      const isLargeSent = first.requests.some(
        ({ method, name, bytes }) => method === 'put' && bytes >= MIB && isKnown(first, fault, name),
      );
      if (outcome instanceof Error && first.requests[fault.at - 1]!.method === 'put')
        expect(/: what is sent already \(1 pack\) is not sent again: run/.test(outcome.message)).toBe(
          isLargeSent,
        );
      const arrived = [...bucket.objects]
        .filter(([, { bytes }]) => bytes.length >= MIB)
        .map(([name]) => name);
      const second = new FaultyBucket(bucket);
      await pushAll(from, second);
      const sent = second.requests
        .filter(({ method }) => method === 'put')
        .map(({ name }) => contentOf(name));
      const where = `${fault.after ? 'after' : 'before'} ${fault.at} ${JSON.stringify(first.requests[fault.at - 1])}`;
      // One whose own request broke off after it had arrived, or whose index did not, is not known to have.
      const known = arrived.filter((name) => isKnown(first, fault, name)).map(contentOf);
      expect(
        sent.filter((name) => known.includes(name)),
        where,
      ).toEqual([]);
      const names = [...bucket.objects.keys()].map(contentOf).sort().join();
      if (!judged.has(names)) await expectWhole(from, bucket);
      judged.add(names);
    }
  });

  test('fetch goes on from wherever it was broken off, and nothing is seen before it is whole', async () => {
    const from = await filled(isPacked);
    const bucket = new MemoryBucket();
    await pushAll(from, bucket);
    const counting = new FaultyBucket(bucket);
    const whole = await newStore();
    await fetchAll(whole, counting);
    const objects = await gitObjects(whole.path);
    for (const fault of faults(counting.requests)) {
      const to = await newStore();
      const before = listFiles(to.path);
      const first = new FaultyBucket(bucket, fault);
      const outcome = await fetchAll(to, first).catch((error: unknown) => error);
      expect(outcome).toMatchObject({ code: 'REMOTE_UNREACHABLE' });
      expect(listFiles(to.path)).toEqual(before);
      await fetchAll(to, bucket);
      expect(await ownRefs(to)).toEqual(await ownRefs(from));
      expect(await gitObjects(to.path)).toEqual(objects);
    }
    await gitFsck(whole.path);
  });

  test('fetch asks for no byte of a pack twice, wherever it was cut', async () => {
    const from = await filled(isPacked);
    const bucket = new MemoryBucket();
    await pushAll(from, bucket);
    const counting = new FaultyBucket(bucket);
    await fetchAll(await newStore(), counting);
    const { readBytes } = counting;
    for (let cut = 1; cut < readBytes; cut += Math.ceil(readBytes / 5)) {
      const to = await newStore();
      const before = listFiles(to.path);
      const first = new FaultyBucket(bucket);
      first.cutAfter = cut;
      await expect(fetchAll(to, first)).rejects.toMatchObject({ code: 'REMOTE_UNREACHABLE' });
      expect(listFiles(to.path)).toEqual(before);
      const second = new FaultyBucket(bucket);
      await fetchAll(to, second);
      const small = 100_000;
      expect(first.readBytes + second.readBytes).toBeLessThan(readBytes + small);
      expect((await readBack(to.store, 'db')).equals(await readBack(from.store, 'db'))).toBe(true);
      expect(await ownRefs(to)).toEqual(await ownRefs(from));
      await gitFsck(to.path);
    }
  });
});

/** A name without what each upload has of its own. */
function contentOf(name: string): string {
  return name.replace(/\.[0-9a-f]{8}\./, '.');
}

/** Whether a push that was broken off could know that an object had arrived: its request and that of its index, or pack, were answered. */
function isKnown({ requests }: FaultyBucket, { at, lasting }: BucketFault, name: string): boolean {
  const stem = name.replace(/\.[a-z]+$/, '');
  const own = requests.filter((each) => each.method === 'put' && each.name.startsWith(stem));
  return own.length === 2 && own.every(({ number }) => number !== at && (!lasting || number < at));
}
