import { expect, test } from 'vitest';
import { DiskSource } from '../../../store/index.ts';
import { describeBlockSource } from '../../block/block-source-conformance.ts';
import { noise } from '../../qcow2/qemu.ts';
import { newStore } from '../new-store.ts';
import { storeClusters } from './make-version.ts';

const stored = (clusterSize: number) => async (disk: Uint8Array) => {
  const { store } = await newStore(4096, { unpackLimit: 64 });
  return new DiskSource(store.objects, await storeClusters(store, disk, clusterSize));
};

// The suite's disks end within a cluster: 300 001 bytes of zeros, 70 001 of data, 1 byte.
describeBlockSource('DiskSource with clusters of 4 KiB', stored(4096), { runs: 40 });
describeBlockSource('DiskSource with clusters of 2 MiB', stored(2 * 2 ** 20), { runs: 40 });

test('DiskSource.read throws DAMAGED when a cluster is not as long as it should be', async () => {
  const { store } = await newStore();
  const disk = await storeClusters(store, noise(10_000, 1), 4096);
  for (const virtualSize of [9_999, 10_001]) {
    const source = new DiskSource(store.objects, { ...disk, virtualSize });
    await source.read(0, Buffer.alloc(8192));
    await expect(source.read(8192, Buffer.alloc(1000))).rejects.toMatchObject({ code: 'DAMAGED' });
  }
});

test('DiskSource.read reads no cluster outside of its range', async () => {
  const { store } = await newStore();
  const disk = await storeClusters(store, noise(3 * 4096, 1), 4096);
  const source = new DiskSource(store.objects, { ...disk, virtualSize: 2 * 4096 });
  const into = Buffer.alloc(8192);
  await source.read(0, into);
  expect(into.equals(noise(3 * 4096, 1).subarray(0, 8192))).toBe(true);
});
