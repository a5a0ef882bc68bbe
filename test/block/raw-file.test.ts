import { symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { type Extent, RawFile, sameIdentity } from '../../block/index.ts';
import { describeBlockSource } from './block-source-conformance.ts';
import { writeSparse } from './sparse-file.ts';
import { temporaryFolder } from './temporary-folder.ts';

const KIB = 1024;

describeBlockSource('RawFile', async (disk) => {
  const path = join(await temporaryFolder(), 'disk.raw');
  await writeSparse(path, disk);
  return RawFile.open(path);
});

/** A RawFile over a new file with these bytes; closed and removed after the test. */
async function rawFile(bytes: Uint8Array): Promise<{ path: string; raw: RawFile }> {
  const path = join(await temporaryFolder(), 'disk.raw');
  await writeSparse(path, bytes);
  const raw = await RawFile.open(path);
  onTestFinished(() => raw.close());
  return { path, raw };
}

test('RawFile.extents tell holes from data when the file is sparse', async () => {
  const disk = new Uint8Array(1024 * KIB);
  disk.fill(1, 256 * KIB, 320 * KIB);
  disk.fill(2, 768 * KIB, 832 * KIB);
  const { raw } = await rawFile(disk);
  const extents: Extent[] = [];
  for await (const extent of raw.extents(0, raw.size)) extents.push(extent);
  expect(extents).toEqual([
    { offset: 0, length: 256 * KIB, kind: 'hole' },
    { offset: 256 * KIB, length: 64 * KIB, kind: 'data' },
    { offset: 320 * KIB, length: 448 * KIB, kind: 'hole' },
    { offset: 768 * KIB, length: 64 * KIB, kind: 'data' },
    { offset: 832 * KIB, length: 192 * KIB, kind: 'hole' },
  ]);
});

test('RawFile.extents are one hole when a terabyte is empty', async () => {
  const { path } = await rawFile(new Uint8Array(0));
  await truncate(path, 2 ** 40);
  const raw = await RawFile.open(path);
  onTestFinished(() => raw.close());
  const extents: Extent[] = [];
  for await (const extent of raw.extents(0, raw.size)) extents.push(extent);
  expect(extents).toEqual([{ offset: 0, length: 2 ** 40, kind: 'hole' }]);
});

test('RawFile.path is the file itself when it is opened through a symbolic link', async () => {
  const { path } = await rawFile(new Uint8Array(10));
  await symlink(path, `${path}.link`);
  const raw = await RawFile.open(`${path}.link`);
  onTestFinished(() => raw.close());
  expect(raw.path.endsWith('/disk.raw')).toBe(true);
  expect(raw.isDevice).toBe(false);
});

test('RawFile.read throws IN_USE when the file became shorter', async () => {
  const { path, raw } = await rawFile(new Uint8Array(100 * KIB).fill(1));
  await truncate(path, 10 * KIB);
  await expect(raw.read(0, new Uint8Array(100 * KIB))).rejects.toMatchObject({
    code: 'IN_USE',
    data: { path: raw.path, offset: 10 * KIB },
  });
  await raw.read(0, new Uint8Array(10 * KIB));
});

test('RawFile.size stays what it was when the file grows', async () => {
  const { path, raw } = await rawFile(new Uint8Array(10).fill(1));
  await truncate(path, 20);
  expect(raw.size).toBe(10);
  await expect(raw.read(10, new Uint8Array(1))).rejects.toMatchObject({ code: 'USAGE' });
});

test('RawFile.identity stays the same when nothing is written', async () => {
  const { raw } = await rawFile(new Uint8Array(10).fill(1));
  const before = await raw.identity();
  await raw.read(0, new Uint8Array(10));
  expect(sameIdentity(before, await raw.identity())).toBe(true);
});

test('RawFile.identity changes when the file is written, even to the same size', async () => {
  const { path, raw } = await rawFile(new Uint8Array(10).fill(1));
  const before = await raw.identity();
  // The clock of file times ticks every few milliseconds; a write in the same tick may not show.
  await new Promise((resolve) => setTimeout(resolve, 30));
  await writeFile(path, new Uint8Array(10).fill(2));
  expect(sameIdentity(before, await raw.identity())).toBe(false);
});
