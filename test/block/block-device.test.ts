import { execFileSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, type TestContext, test } from 'vitest';
import { type Extent, RawFile } from '../../block/index.ts';
import { mixedDisk } from './model-disk.ts';
import { temporaryFolder } from './temporary-folder.ts';

/** A loop device over these bytes; the test is skipped where the user or the machine cannot make one. */
async function loopDevice(context: TestContext, bytes: Uint8Array): Promise<string> {
  const path = join(await temporaryFolder(), 'disk.raw');
  await writeFile(path, bytes);
  let device: string;
  try {
    device = execFileSync('losetup', ['--find', '--show', path], { encoding: 'utf8', stdio: 'pipe' }).trim();
  } catch (error) {
    return context.skip(`no loop devices here: ${String(error)}`);
  }
  onTestFinished(() => void execFileSync('losetup', ['--detach', device]));
  return device;
}

test('RawFile reads the whole of a block device as data when one is opened', async (context) => {
  const disk = mixedDisk(4096);
  const raw = await RawFile.open(await loopDevice(context, disk));
  onTestFinished(() => raw.close());
  expect(raw.isDevice).toBe(true);
  expect(raw.size).toBe(disk.length);

  const extents: Extent[] = [];
  for await (const extent of raw.extents(512, raw.size - 512)) extents.push(extent);
  expect(extents).toEqual([{ offset: 512, length: disk.length - 512, kind: 'data' }]);

  const bytes = new Uint8Array(disk.length);
  await raw.read(0, bytes);
  expect(Buffer.compare(bytes, disk)).toBe(0);
  const odd = new Uint8Array(1000);
  await raw.read(12_345, odd);
  expect(Buffer.compare(odd, disk.subarray(12_345, 13_345))).toBe(0);
});

test('RawFile.read throws USAGE when the range leaves a block device', async (context) => {
  const raw = await RawFile.open(await loopDevice(context, new Uint8Array(64 * 512)));
  onTestFinished(() => raw.close());
  await expect(raw.read(63 * 512, new Uint8Array(513))).rejects.toMatchObject({ code: 'USAGE' });
});
