import { copyFile, truncate } from 'node:fs/promises';
import { expect, onTestFinished, test, vi } from 'vitest';
import { InPlaceFile } from '../../../block/index.ts';
import { checkoutInPlace, checkoutVersion, commitVersion } from '../../../store/index.ts';
import { CLOCK_TICK_MS } from '../../../store/stat-cache.ts';
import { qemuImg } from '../../qcow2/qemu.ts';
import { diskOf } from '../disks.ts';
import { commitBytes, newStore } from '../new-store.ts';
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

test('checkoutInPlace and checkoutVersion with a bitmap keep the locks on a file until later writes show in its times', async () => {
  const made = await newStore();
  await commitBytes(made, 'web', diskOf([1, 2]));
  await commitBytes(made, 'web', diskOf([3, 2]));
  const { value } = Object.getOwnPropertyDescriptor(InPlaceFile.prototype, 'close')!;
  const close = value as () => Promise<void>;
  const heldMs: number[] = [];
  const spy = vi.spyOn(InPlaceFile.prototype, 'close').mockImplementation(async function (this: InPlaceFile) {
    heldMs.push(Date.now() - Number((await this.mtimeNs()) / 1_000_000n));
    await close.call(this);
  });
  onTestFinished(() => spy.mockRestore());
  const output = made.file('out.qcow2');
  await checkoutVersion(made.store, { revision: 'web', output, track: true });
  const target = made.file('target.qcow2');
  await checkoutVersion(made.store, { revision: 'web~1', output: target });
  await checkoutInPlace(made.store, { revision: 'web', output: target });
  expect(heldMs).toHaveLength(2);
  for (const ms of heldMs) expect(ms).toBeGreaterThanOrEqual(CLOCK_TICK_MS);
});
