import { existsSync } from 'node:fs';
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type PointWrite, watchPoints } from '../../../../files/index.ts';
import {
  type Bucket,
  encryptedBucket,
  indexName,
  packName,
  type RemotePack,
} from '../../../../remote/index.ts';
import { EMPTY_CONTENT } from '../../../../remote/layout/state.ts';
import { UploadJournal } from '../../../../store/remote/bucket/journal.ts';
import { keysOf, newKeyPair } from '../../../remote/age/age-tool.ts';
import { FaultyBucket } from '../../../remote/faulty-bucket.ts';
import { packRow } from '../../../remote/layout/contents.ts';
import { MemoryBucket } from '../../../remote/memory-bucket.ts';
import { newStore } from '../../new-store.ts';

const MIB = 2 ** 20;
const HOUR_MS = 60 * 60 * 1000;

/** A pack that is large enough to be noted. */
function row(number: number): RemotePack {
  return { ...packRow(number), bytes: MIB + number, indexBytes: 100 + number };
}

function rows(count: number): RemotePack[] {
  return Array.from({ length: count }, (_, i) => row(i));
}

function packsOf(packs: readonly RemotePack[]): ReadonlyMap<string, RemotePack> {
  return new Map(packs.map((each) => [each.pack, each]));
}

async function put(bucket: Bucket, ...packs: readonly RemotePack[]) {
  for (const pack of packs) {
    await bucket.put(packName(pack), Buffer.alloc(pack.bytes));
    await bucket.put(indexName(pack), Buffer.alloc(pack.indexBytes));
  }
}

async function place() {
  const { store, file } = await newStore();
  const path = file('journal');
  const open = (bucket: Bucket, content = EMPTY_CONTENT) => UploadJournal.open(store, path, bucket, content);
  return { path, open };
}

/** What is written at points of the journal while a test runs. */
function watchWrites(): PointWrite[] {
  const writes: PointWrite[] = [];
  onTestFinished(
    watchPoints((point, _, write) => {
      if (point === 'remote-journal.write') writes.push(write!);
    }),
  );
  return writes;
}

describe('UploadJournal', () => {
  test('add writes one line, however many there are', async () => {
    const { open } = await place();
    const writes = watchWrites();
    const journal = await open(new MemoryBucket());
    for (const each of rows(50)) await journal.add(each, Date.now());
    expect(writes).toHaveLength(50);
    expect(Math.max(...writes.map(({ bytes }) => bytes.length))).toBeLessThan(400);
  });

  test('open gives what was added by calls beside each other', async () => {
    const { open } = await place();
    const bucket = new MemoryBucket();
    await put(bucket, ...rows(9));
    const journal = await open(bucket);
    await Promise.all(rows(9).map((each) => journal.add(each, Date.now())));
    const again = await open(bucket);
    expect(new Set(again.packs)).toEqual(new Set(rows(9)));
  });

  test('open gives what was added but for the line that was cut off, wherever, and add goes on behind it', async () => {
    const { open, path } = await place();
    const bucket = new MemoryBucket();
    await put(bucket, ...rows(3));
    const journal = await open(bucket);
    await journal.add(row(0), Date.now());
    const { length: first } = await readFile(path);
    await journal.add(row(1), Date.now());
    const whole = await readFile(path);
    for (let size = first; size < whole.length - 1; size += 7) {
      await writeFile(path, whole.subarray(0, size));
      const again = await open(bucket);
      expect(again.packs).toEqual([row(0)]);
      await again.add(row(2), Date.now());
      expect((await open(bucket)).packs).toEqual([row(0), row(2)]);
    }
  });

  test('open takes no line of which a digit has changed, and no journal of one line', async () => {
    const { open, path } = await place();
    const bucket = new MemoryBucket();
    await put(bucket, ...rows(2));
    const journal = await open(bucket);
    await journal.add(row(1), Date.now());
    const text = await readFile(path, 'utf8');
    await writeFile(path, text.replace('"upload":"00000000"', '"upload":"00000001"'));
    expect((await open(bucket)).packs).toEqual([]);
    await writeFile(path, JSON.stringify([{ row: row(0), sentMs: Date.now() }]));
    const after = await open(bucket);
    expect(after.packs).toEqual([]);
    await after.add(row(1), Date.now());
    await appendFile(path, '\n{}\nnull\n7\n');
    const last = await open(bucket);
    expect(last.packs).toEqual([row(1)]);
    await last.clear();
    expect(existsSync(path)).toBe(false);
  });

  test('open leaves out what the bucket has not any more, or not whole, and what is a day old', async () => {
    const { open } = await place();
    const bucket = new MemoryBucket();
    await put(bucket, ...rows(6));
    const journal = await open(bucket);
    for (const each of rows(6))
      await journal.add(each, Date.now() - (each.bytes === row(5).bytes ? 24 * HOUR_MS : 0));
    await bucket.remove([packName(row(0)), indexName(row(1))]);
    await bucket.put(packName(row(2)), Buffer.alloc(7));
    await bucket.put(indexName(row(3)), Buffer.alloc(7));
    expect((await open(bucket)).packs).toEqual([row(4)]);
    const crowded = { ...EMPTY_CONTENT, packs: packsOf(rows(20_100).slice(100)) };
    expect((await open(bucket, crowded)).packs).toEqual([row(4)]);
  });

  test('open leaves out what a state has listed, as a push that was killed before it cleared the journal leaves it', async () => {
    const { open } = await place();
    const bucket = new MemoryBucket();
    await put(bucket, ...rows(4));
    const journal = await open(bucket);
    for (const each of rows(4)) await journal.add(each, Date.now());
    const sentByAnother = { ...row(2), upload: 'ffffffff' };
    const content = {
      ...EMPTY_CONTENT,
      packs: packsOf([row(0), sentByAnother]),
      buried: new Map([[packName(row(1)), { ...row(1), at: new Date().toISOString() }]]),
    };
    expect((await open(bucket, content)).packs).toEqual([row(2), row(3)]);
  });

  test('open asks for one list of what it noted, and for single names where that is less', async () => {
    const { open } = await place();
    const counting = new FaultyBucket(new MemoryBucket());
    await put(counting, ...rows(12));
    const journal = await open(counting);
    for (const each of rows(12)) await journal.add(each, Date.now());
    counting.requests.length = 0;
    expect((await open(counting)).packs).toEqual(rows(12));
    expect(counting.requests.map(({ method }) => method)).toEqual(['list']);
    counting.requests.length = 0;
    const crowded = { ...EMPTY_CONTENT, packs: packsOf(rows(20_100).slice(100)) };
    expect((await open(counting, crowded)).packs).toEqual(rows(12));
    expect(counting.requests.map(({ method }) => method)).toEqual(Array(24).fill('stat'));
  });

  test('open knows packs of an encrypted bucket by their hidden names, and none in one that was emptied', async () => {
    const { open } = await place();
    const plain = new MemoryBucket();
    const keys = await keysOf([newKeyPair()]);
    const bucket = await encryptedBucket(plain, keys);
    await put(bucket, ...rows(3));
    const journal = await open(bucket);
    for (const each of rows(3)) await journal.add(each, Date.now());
    await bucket.remove([indexName(row(1))]);
    expect((await open(await encryptedBucket(plain, keys))).packs).toEqual([row(0), row(2)]);
    plain.objects.clear();
    expect((await open(await encryptedBucket(plain, keys))).packs).toEqual([]);
  });
});
