import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { checkoutInPlace, initStore } from '../../store/index.ts';
import { Random } from '../qcow2/differential/random.ts';
import { qemuBytes } from '../qcow2/qemu.ts';
import { commitBytes, reopen } from '../store/new-store.ts';
import { hasLeaksOnly, snapshotBytes, TARGETS, WANTED } from './in-place-targets.ts';
import { quickFolder } from './quick-folder.ts';
import { mixed, statesAtSyncs } from './states-at-syncs.ts';

const SEED = Number(process.env.IMGSTORE_SEED ?? 1);
/** Mixes that are tried between two fsyncs. */
const TRIES = process.env.IMGSTORE_LONG === '1' ? 20 : 3;

test.each(TARGETS)(
  'a failure of the power at any moment of checkoutInPlace leaves $name that can be read and completed',
  { timeout: 0 },
  async ({ file, make, snapshot }) => {
    const folder = await quickFolder();
    const init = await initStore(folder, { clusterSize: 4096 });
    init.close();
    const store = await reopen(init.folder);
    const made = { store, path: init.folder, file: (name: string) => join(folder, name) };
    await commitBytes(made, 'web', WANTED);
    await make(folder);
    const path = join(folder, file);
    const kept = snapshot === undefined ? undefined : await snapshotBytes(path, snapshot);
    const run = () => checkoutInPlace(store, { revision: 'web', output: path });
    const states = await statesAtSyncs(path, run);
    const random = new Random(SEED);
    let tried = 0;
    for (const [i, after] of states.entries()) {
      const before = states[i - 1];
      if (before === undefined || before.equals(after)) continue;
      for (let n = 0; n < TRIES; n++) {
        writeFileSync(path, mixed(before, after, random));
        if (snapshot !== undefined) await hasLeaksOnly(path);
        await run();
        tried++;
        if (snapshot === undefined) {
          expect(readFileSync(path).equals(WANTED)).toBe(true);
          continue;
        }
        await hasLeaksOnly(path);
        expect((await qemuBytes(path)).equals(WANTED), 'the disk').toBe(true);
        expect((await snapshotBytes(path, snapshot)).equals(kept!), 'the snapshot').toBe(true);
      }
    }
    expect(tried).toBeGreaterThan(0);
  },
);
