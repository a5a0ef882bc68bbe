import { chownSync, statSync } from 'node:fs';
import { expect, test } from 'vitest';
import { ScratchFolder } from '../../../store/live/scratch.ts';
import { qemuImg } from '../../qcow2/qemu.ts';
import { newStore } from '../new-store.ts';

test('ScratchFolder is only for its owner: that of the image, where root makes it', async () => {
  const made = await newStore();
  const image = made.file('vm.qcow2');
  await qemuImg('create', '-q', '-f', 'qcow2', image, '4M');
  const isRoot = process.getuid?.() === 0;
  if (isRoot) chownSync(image, 12345, 54321);
  const owner = statSync(image);
  const scratch = await ScratchFolder.create({ folder: made.file(''), like: image });
  const file = await scratch.addFile('vda', { size: 4 * 2 ** 20, granularity: 65536 });
  for (const [path, mode] of [
    [scratch.path, 0o40700],
    [file, 0o100600],
  ] as const) {
    expect(statSync(path)).toMatchObject({ uid: owner.uid, gid: owner.gid, mode });
  }
  await scratch.remove();
  expect(() => statSync(scratch.path)).toThrow();
  expect(scratch.socket.length).toBeLessThanOrEqual(107);
});
