import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { checkoutVersion, packStore } from '../../../store/index.ts';
import { noise } from '../../qcow2/qemu.ts';
import { commitBytes, newStore, reopen } from '../new-store.ts';
import { watchJobs } from '../watch-jobs.ts';

const CLUSTER = 65_536;
const CLUSTERS = 80;

/** How many clusters jobs of a kind were given. */
function countItems(job: 'restore' | 'restorePacked'): () => number {
  let items = 0;
  watchJobs(job, (given) => {
    items += (given as { readonly items: readonly unknown[] }).items.length;
  });
  return () => items;
}

/** A disk whose clusters are all alike but for some bytes, so that git makes deltas of them. */
function alike(): Buffer {
  const bytes = Buffer.alloc(CLUSTERS * CLUSTER);
  const cluster = noise(CLUSTER, 1);
  for (let i = 0; i < CLUSTERS; i++) {
    cluster.copy(bytes, i * CLUSTER);
    bytes.writeUInt32LE(i, i * CLUSTER + 1000);
  }
  return bytes;
}

test('checkoutVersion lets threads read packs', async () => {
  const made = await newStore(CLUSTER, { unpackLimit: 1 });
  const bytes = noise(CLUSTERS * CLUSTER + 512, 2);
  await commitBytes(made, 'web', bytes);
  const [packed, located] = [countItems('restorePacked'), countItems('restore')];
  await checkoutVersion(made.store, { revision: 'web', output: made.file('out.raw') });
  expect(readFileSync(made.file('out.raw')).equals(bytes)).toBe(true);
  expect([packed(), located()]).toEqual([CLUSTERS + 1, 0]);
});

test.each([false, true])(
  'checkoutVersion restores deltas, whole clusters and loose ones, with damage skipped: %s',
  async (skipDamaged) => {
    const made = await newStore(CLUSTER, { unpackLimit: 100_000 });
    const bytes = alike();
    await commitBytes(made, 'web', bytes);
    await packStore(made.store);
    const verified = execFileSync('git', ['--git-dir', made.path, 'verify-pack', '-v', ...packs(made.path)], {
      encoding: 'utf8',
    });
    expect(verified).toMatch(/chain length = [1-5]: /);
    noise(3 * CLUSTER, 9).copy(bytes, 7 * CLUSTER);
    await commitBytes(made, 'web', bytes);
    const store = await reopen(made.path);
    const [packed, located] = [countItems('restorePacked'), countItems('restore')];
    await checkoutVersion(store, { revision: 'web', output: made.file('out.raw'), skipDamaged });
    expect(readFileSync(made.file('out.raw')).equals(bytes)).toBe(true);
    // The three new ones are loose.
    expect([packed(), located()]).toEqual([CLUSTERS - 3, 3]);
  },
);

function packs(path: string): string[] {
  const folder = join(path, 'objects', 'pack');
  return readdirSync(folder)
    .filter((name) => name.endsWith('.pack'))
    .map((name) => join(folder, name));
}
