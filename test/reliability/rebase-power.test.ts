import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { checkoutVersion, initStore, rebaseOverlay } from '../../store/index.ts';
import { Random } from '../qcow2/differential/random.ts';
import { qemuBytes, qemuIo } from '../qcow2/qemu.ts';
import { diskOf } from '../store/disks.ts';
import { commitBytes, reopen, type TestStore } from '../store/new-store.ts';
import { hasLeaksOnly } from './in-place-targets.ts';
import { quickFolder } from './quick-folder.ts';
import { mixed, statesAtSyncs } from './states-at-syncs.ts';

const SEED = Number(process.env.IMGSTORE_SEED ?? 1);
/** Mixes that are tried between two fsyncs. */
const TRIES = process.env.IMGSTORE_LONG === '1' ? 40 : 6;

const CLUSTER = 4096;
/** A version of the base. */
function baseBytes(version: number, clusterSize: number): Buffer {
  const plan = Array.from({ length: 72 }, (_, i) => {
    if (i % 7 === 3 * version) return 0;
    return i % 3 === 0 ? version * 100 + i : i + 1;
  });
  return diskOf(plan, clusterSize);
}

/** A store with two versions of a base, and an overlay on the first, in memory. */
async function place(clusterSize: number): Promise<TestStore> {
  const folder = await quickFolder();
  const init = await initStore(folder, { clusterSize });
  init.close();
  const file = (name: string) => join(folder, name);
  const made = { store: await reopen(init.folder), path: init.folder, file };
  await commitBytes(made, 'golden', baseBytes(1, clusterSize));
  await commitBytes(made, 'golden', baseBytes(2, clusterSize));
  await checkoutVersion(made.store, { revision: 'golden~1', output: file('base.qcow2') });
  const backing = { file: file('base.qcow2') };
  await checkoutVersion(made.store, { revision: 'golden~1', output: file('vm.qcow2'), backing });
  await qemuIo(file('vm.qcow2'), 'write -P 9 5k 30k', 'write -z 100k 8k');
  return made;
}

test('a failure of the power at any moment of rebaseOverlay leaves what the guest sees, and a second run completes it', {
  timeout: 0,
}, async () => {
  const made = await place(CLUSTER);
  const overlay = made.file('vm.qcow2');
  const seen = await qemuBytes(overlay);
  const run = () => rebaseOverlay(made.store, { overlay, onto: 'golden' });
  const states = await statesAtSyncs(overlay, run);
  const random = new Random(SEED);
  const tried = { tables: 0, header: 0 };
  for (const [i, after] of states.entries()) {
    const before = states[i - 1];
    if (before === undefined || before.equals(after)) continue;
    const isHeader = !before.subarray(0, CLUSTER).equals(after.subarray(0, CLUSTER));
    for (let n = 0; n < TRIES; n++) {
      // The header is in the first 4 KiB, which a disk writes as a whole.
      writeFileSync(overlay, mixed(before, after, random, isHeader ? CLUSTER : undefined));
      await hasLeaksOnly(overlay);
      expect((await qemuBytes(overlay)).equals(seen), `between fsyncs ${i - 1} and ${i}`).toBe(true);
      await run();
      await hasLeaksOnly(overlay);
      expect((await qemuBytes(overlay)).equals(seen), `again after ${i}`).toBe(true);
      tried[isHeader ? 'header' : 'tables']++;
    }
  }
  expect(tried.tables).toBeGreaterThan(0);
  expect(tried.header).toBe(TRIES);
});
