import { expect, onTestFinished, test } from 'vitest';
import { RevisionExports } from '../../../store/serve/revision-exports.ts';
import { ClusterWorkers } from '../../../store/workers/pool.ts';
import { noise } from '../../qcow2/qemu.ts';
import { newStore, SMALL } from '../new-store.ts';
import { storeClusters } from '../version/make-version.ts';

test('RevisionExports gives the bytes of versions with larger clusters than the store has now', async () => {
  const { store } = await newStore(SMALL);
  const workers = new ClusterWorkers(0);
  const exports = new RevisionExports(store, workers, { revisions: [], cacheBytes: 2 ** 20 });
  onTestFinished(async () => {
    exports.close();
    await workers.close();
  });
  const sizes = [16 * SMALL, SMALL, 4 * SMALL];
  const sources = await Promise.all(
    sizes.map(async (clusterSize, i) => {
      const bytes = noise(40 * clusterSize + 777, i + 1);
      return { bytes, disk: exports.diskOf(await storeClusters(store, bytes, clusterSize)) };
    }),
  );
  for (let round = 0; round < 3; round++) {
    await Promise.all(
      sources.map(async ({ bytes, disk }) => {
        for (let at = 0; at < bytes.length; at += 1000) {
          const into = Buffer.alloc(Math.min(1000, bytes.length - at));
          await disk.read(at, into);
          expect(into.equals(bytes.subarray(at, at + into.length))).toBe(true);
        }
      }),
    );
  }
});
