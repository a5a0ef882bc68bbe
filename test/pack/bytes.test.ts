import { appendFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { type ByteView, FileBytes, MemoryBytes } from '../../pack/index.ts';
import { temporaryFolder } from '../block/temporary-folder.ts';
import { damage, failure } from '../objects/damage.ts';
import { noise } from '../objects/noise.ts';

const BYTES = noise(300_000, 1);

async function fileOf(bytes: Uint8Array): Promise<FileBytes> {
  const path = join(await temporaryFolder(), 'bytes');
  writeFileSync(path, bytes);
  const file = new FileBytes(path);
  onTestFinished(() => file.close());
  return file;
}

const KINDS: readonly (readonly [string, (bytes: Uint8Array) => ByteView | Promise<ByteView>])[] = [
  ['FileBytes', fileOf],
  ['MemoryBytes', (bytes) => new MemoryBytes('bytes', bytes)],
];

test.each(KINDS)('%s.bytes gives the bytes of any range', async (_, make) => {
  const view = await make(BYTES);
  expect(view.size).toBe(BYTES.length);
  const point = fc.oneof(fc.nat(BYTES.length), fc.constantFrom(0, 65_535, 65_536, 131_072, BYTES.length));
  fc.assert(
    fc.property(point, point, (a, b) => {
      const [from, to] = [Math.min(a, b), Math.max(a, b)];
      expect(view.bytes(from, to - from).equals(BYTES.subarray(from, to))).toBe(true);
    }),
  );
});

test.each(KINDS)('%s.bytes throws DAMAGED naming the file when the range leaves it', async (_, make) => {
  const view = await make(BYTES.subarray(0, 100));
  const outside = [
    [0, 101],
    [100, 1],
    [101, 0],
    [-1, 1],
    [-1, 0],
    [2 ** 53, 1],
    [0, 2 ** 53],
  ] as const;
  for (const [offset, length] of outside) {
    const error = damage(() => view.bytes(offset, length));
    expect(error.message).toMatch(/bytes: cut short: /);
    expect(error.data).toMatchObject({ path: view.name, offset, length, size: 100 });
  }
});

test.each(KINDS)('%s holds nothing when it is empty', async (_, make) => {
  const view = await make(new Uint8Array(0));
  expect(view.size).toBe(0);
  expect(view.bytes(0, 0)).toHaveLength(0);
  damage(() => view.bytes(0, 1));
});

test('MemoryBytes takes a view into a larger buffer', () => {
  expect(new MemoryBytes('bytes', BYTES.subarray(10, 20)).bytes(2, 3)).toEqual(BYTES.subarray(12, 15));
});

test('FileBytes throws NOT_FOUND naming the path when there is no file', async () => {
  const path = join(await temporaryFolder(), 'missing');
  expect(failure(() => new FileBytes(path))).toMatchObject({ code: 'NOT_FOUND', data: { path } });
});

test('FileBytes throws DAMAGED when the file became shorter', async () => {
  const file = await fileOf(BYTES);
  truncateSync(file.name, 1000);
  expect(damage(() => file.bytes(200_000, 10)).message).toContain('became shorter');
  expect(damage(() => file.readInto(Buffer.alloc(2000), 0)).message).toContain('became shorter');
});

test('FileBytes keeps its size when the file grows', async () => {
  const file = await fileOf(BYTES.subarray(0, 100));
  appendFileSync(file.name, 'more');
  damage(() => file.bytes(100, 1));
});

test('FileBytes does not take the pages of one file for those of the next with its name', async () => {
  const file = await fileOf(Buffer.from('old'));
  expect(file.bytes(0, 3).toString()).toBe('old');
  file.close();
  writeFileSync(file.name, 'new');
  const next = new FileBytes(file.name);
  onTestFinished(() => next.close());
  expect(next.bytes(0, 3).toString()).toBe('new');
});

test('FileBytes gives the right bytes when more pages are read than are kept', async () => {
  const path = join(await temporaryFolder(), 'large');
  const pages = 600;
  const bytes = Buffer.alloc(pages * 65_536);
  for (let page = 0; page < pages; page++) bytes.writeUInt32BE(page, page * 65_536);
  writeFileSync(path, bytes);
  const file = new FileBytes(path);
  onTestFinished(() => file.close());
  for (let round = 0; round < 2; round++)
    for (let page = 0; page < pages; page++) expect(file.bytes(page * 65_536, 4).readUInt32BE()).toBe(page);
});

test('FileBytes.close does nothing when it is called again', async () => {
  const file = await fileOf(BYTES);
  file.close();
  file.close();
});
