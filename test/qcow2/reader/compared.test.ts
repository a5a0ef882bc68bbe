import { expect, test } from 'vitest';
import type { BlockSource, ComparedExtent } from '../../../block/index.ts';
import { openImage, type Qcow2Image } from '../../../qcow2/index.ts';
import { createOverlay, qemuImg, qemuIo, readAll, tempFolder } from '../qemu.ts';

const file = tempFolder();

const MIB = 2 ** 20;

async function gathered(extents: AsyncIterable<ComparedExtent>): Promise<ComparedExtent[]> {
  const all: ComparedExtent[] = [];
  for await (const extent of extents) all.push(extent);
  return all;
}

/** Fails unless the extents cover the disk and those that are `same` read alike. */
async function checked(
  disk: BlockSource,
  other: BlockSource,
  extents: readonly ComparedExtent[],
): Promise<void> {
  const [bytes, others] = [await readAll(disk), await readAll(other)];
  let at = 0;
  for (const { offset, length, kind } of extents) {
    expect(offset).toBe(at);
    at += length;
    const own = bytes.subarray(offset, at);
    if (kind === 'same') expect(own.equals(others.subarray(offset, at))).toBe(true);
    else if (kind !== 'data') expect(own.every((byte) => byte === 0)).toBe(true);
  }
  expect(at).toBe(disk.size);
}

test('extentsAbove tells what the layers above a disk hold, and where it shows through', async () => {
  const names = ['base', 'short', 'top'].map((name) => file(`${name}.qcow2`));
  const [base, short, top] = names as [string, string, string];
  await qemuImg('create', '-q', '-f', 'qcow2', base, '8M');
  await qemuIo(base, 'write -P 1 0 8M');
  await createOverlay(short, base, 'qcow2', { size: '4M' });
  await qemuIo(short, 'write -P 2 1M 64k');
  await createOverlay(top, short, 'qcow2', { size: '8M' });
  await qemuIo(top, 'write -P 3 2M 64k', 'write -z 3M 64k');
  const { source, layers } = await openImage(top);
  const image = source as Qcow2Image;
  const [, overShort, overBase] = layers.map((layer) => layer.source);
  const aboveBase = await gathered(image.extentsAbove(overBase!, 0, image.size));
  expect(aboveBase).toEqual([
    { offset: 0, length: MIB, kind: 'same' },
    { offset: MIB, length: 65536, kind: 'data' },
    { offset: MIB + 65536, length: MIB - 65536, kind: 'same' },
    { offset: 2 * MIB, length: 65536, kind: 'data' },
    { offset: 2 * MIB + 65536, length: MIB - 65536, kind: 'same' },
    { offset: 3 * MIB, length: 65536, kind: 'zero' },
    { offset: 3 * MIB + 65536, length: MIB - 65536, kind: 'same' },
    { offset: 4 * MIB, length: 4 * MIB, kind: 'hole' },
  ]);
  await checked(image, overBase!, aboveBase);
  await checked(image, overShort!, await gathered(image.extentsAbove(overShort!, 0, image.size)));
  // Of a disk that is not below, nothing shows.
  const beside = await gathered(image.extentsAbove(image, 0, image.size));
  expect(beside.some(({ kind }) => kind === 'same')).toBe(false);
  await source.close();
});

test.each([
  ['plain', []],
  ['with extended L2 entries', ['-o', 'extended_l2=on']],
])('extentsSince tells what differs between two snapshots when the image is %s', async (_, options) => {
  const path = file(`snapshots${options.length}.qcow2`);
  await qemuImg('create', '-q', '-f', 'qcow2', ...options, path, '64M');
  await qemuIo(path, 'write -P 1 0 4M', 'write -P 1 40M 1M', 'write -c -P 5 50M 64k');
  await qemuImg('snapshot', '-c', 'one', path);
  await qemuIo(path, 'write -P 2 1M 64k', 'write -z 2M 64k', 'discard 40M 512k');
  await qemuImg('snapshot', '-c', 'two', path);
  await qemuImg('resize', '-q', path, '80M');
  const { source } = await openImage(path);
  const image = source as Qcow2Image;
  const [one, two] = await Promise.all((await image.snapshots()).map((snapshot) => image.at(snapshot)));
  const forwards = await gathered(two!.extentsSince(one!, 0, two!.size));
  expect(forwards.filter(({ kind }) => kind === 'data')).toEqual([
    { offset: MIB, length: 65536, kind: 'data' },
  ]);
  await checked(two!, one!, forwards);
  await checked(one!, two!, await gathered(one!.extentsSince(two!, 0, one!.size)));
  await checked(image, two!, await gathered(image.extentsSince(two!, 0, image.size)));
  // A view closes nothing.
  await one!.close();
  await two!.read(0, Buffer.alloc(512));
  await source.close();
});
