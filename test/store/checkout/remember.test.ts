import { copyFile, truncate } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { checkoutVersion, commitVersion } from '../../../store/index.ts';
import { qemuImg } from '../../qcow2/qemu.ts';
import { newStore } from '../new-store.ts';
import { readBack } from '../read-back.ts';

test('checkoutVersion remembers a raw disk that looks like a qcow2 as a raw disk', async () => {
  const made = await newStore();
  // What a guest may have written to its disk: a whole qcow2 image.
  const inner = made.file('inner.qcow2');
  await qemuImg('create', '-f', 'qcow2', inner, '1M');
  const path = made.file('disk.raw');
  await copyFile(inner, path);
  await truncate(path, 2 ** 20);
  await commitVersion(made.store, { disks: [{ name: 'vda', path }], format: 'raw', branch: 'web' });
  const output = made.file('out.img');
  await checkoutVersion(made.store, { revision: 'web', output, format: 'raw' });
  await commitVersion(made.store, { disks: [{ name: 'vda', path: output }], branch: 'inner' });
  expect((await readBack(made.store, 'inner')).equals(Buffer.alloc(2 ** 20))).toBe(true);
});
